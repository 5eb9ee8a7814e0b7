use std::collections::BTreeMap;

use parta_testkit::TestDatabase;
use serde_json::Value;

use crate::Process;

/// The process of all services.
pub(super) const PARTA: &str = "parta";

/// Real processes, how they were started, and what has to outlive them.
pub(super) struct Processes {
    pub(super) running: BTreeMap<&'static str, Process>,
    pub(super) program: String,
    /// The words by which the program serves all services.
    pub(super) composed: Vec<String>,
    /// What they may complain of.
    pub(super) expected: Vec<String>,
    settings: Vec<(String, String)>,
    /// By name.
    replicas: BTreeMap<&'static str, Replica>,
    pub(super) _databases: Vec<TestDatabase>,
    pub(super) _folder: tempfile::TempDir,
}

/// One more process of a service.
struct Replica {
    service: &'static str,
    /// What is set for it alone.
    own: Vec<(String, String)>,
}

fn variable(key: &str) -> String {
    format!("PARTA__{}", key.replace('.', "__").to_uppercase())
}

impl Processes {
    pub(super) fn new(program: &str) -> Self {
        Self {
            running: BTreeMap::new(),
            program: program.to_owned(),
            composed: vec![PARTA.to_owned()],
            expected: Vec::new(),
            settings: Vec::new(),
            replicas: BTreeMap::new(),
            _databases: Vec::new(),
            _folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.settings.push((variable(key), value.to_owned()));
    }

    /// Makes a database that lives as long as the processes.
    pub(super) async fn new_database(&mut self) -> String {
        let database = TestDatabase::postgres().await;
        let url = database.url().to_owned();
        self._databases.push(database);
        url
    }

    /// Adds one more process of a service.
    pub(super) fn replica(&mut self, name: &'static str, service: &'static str, own: &[(&str, &str)]) {
        let own = own
            .iter()
            .map(|(key, value)| (variable(key), (*value).to_owned()));
        let own = own.collect();
        self.replicas.insert(name, Replica { service, own });
    }

    /// What a split suite consists of.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let services = parta::SERVICES.iter().map(|service| service.name);
        services.chain(self.replicas.keys().copied()).collect()
    }

    pub(super) fn start(&self, words: &[&str]) -> Process {
        self.start_with(words, &[])
    }

    fn start_with(&self, words: &[&str], own: &[(String, String)]) -> Process {
        let settings = self.settings.iter().chain(own);
        Process::start(
            &self.program,
            words,
            settings.map(|(k, v)| (k.as_str(), v.as_str())),
        )
    }

    pub(super) fn serve(&mut self, name: &'static str) -> &mut Process {
        let composed: Vec<&str> = self.composed.iter().map(String::as_str).collect();
        let process = match self.replicas.get(name) {
            Some(replica) => self.start_with(&[replica.service, "serve"], &replica.own),
            None if name == PARTA => self.start(&composed),
            None => self.start(&[name, "serve"]),
        };
        self.running.entry(name).insert_entry(process).into_mut()
    }

    /// The process that runs a service.
    pub(super) fn of(&self, service: &'static str) -> &'static str {
        if self.running.contains_key(PARTA) || self.running.is_empty() {
            PARTA
        } else {
            service
        }
    }

    /// Whether a test said that it provokes this complaint.
    pub(super) fn expects(&self, complaint: &Value) -> bool {
        let said = complaint.to_string();
        self.expected.iter().any(|text| said.contains(text))
    }
}
