use std::collections::BTreeMap;

use parta_testkit::TestDatabase;
use serde_json::Value;

use crate::Process;

/// The name of the process that runs all services.
pub(super) const PARTA: &str = "parta";

/// Real processes, their settings, and the resources that must outlive them.
pub(super) struct Processes {
    pub(super) running: BTreeMap<&'static str, Process>,
    pub(super) program: String,
    /// Arguments with which the program serves all services.
    pub(super) composed: Vec<String>,
    /// Texts of expected WARN and ERROR lines.
    pub(super) expected: Vec<String>,
    /// Whether each service has a process of its own.
    pub(super) is_split: bool,
    settings: Vec<(String, String)>,
    /// Processes by name.
    replicas: BTreeMap<&'static str, Replica>,
    pub(super) _databases: Vec<TestDatabase>,
    pub(super) _folder: tempfile::TempDir,
}

/// An additional process of a service.
struct Replica {
    service: &'static str,
    /// Settings of this process only.
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
            composed: vec!["serve".to_owned()],
            expected: Vec::new(),
            is_split: false,
            settings: Vec::new(),
            replicas: BTreeMap::new(),
            _databases: Vec::new(),
            _folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.settings.push((variable(key), value.to_owned()));
    }

    /// Creates a database that exists until the processes are dropped.
    pub(super) async fn new_database(&mut self) -> String {
        let database = TestDatabase::postgres().await;
        let url = database.url().to_owned();
        self._databases.push(database);
        url
    }

    /// Creates a database for a service that is served by a role without the right to change the schema.
    pub(super) async fn new_database_with_roles(&mut self, section: &str) -> String {
        let database = TestDatabase::postgres().await;
        let serving = database.serving_url().await;
        self.set(&format!("{section}.database_migrate_url"), database.url());
        self._databases.push(database);
        serving
    }

    /// Adds a process of a service.
    pub(super) fn replica(&mut self, name: &'static str, service: &'static str, own: &[(String, &str)]) {
        let own = own
            .iter()
            .map(|(key, value)| (variable(key), (*value).to_owned()));
        let own = own.collect();
        self.replicas.insert(name, Replica { service, own });
    }

    /// Returns the names of the processes of a split suite.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let services = parta::SERVICES.iter().map(|service| service.name);
        services.chain(self.replicas.keys().copied()).collect()
    }

    pub(super) fn start(&self, words: &[&str]) -> Process {
        self.start_with(words, &[])
    }

    /// Starts a command that may run other programs, such as `pg_dump`.
    pub(super) fn command(&self, words: &[&str]) -> Process {
        let path = std::env::var("PATH").expect("a path");
        self.start_with(words, &[("PATH".to_owned(), path)])
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
            Some(replica) => self.start_with(&["serve", "--only", replica.service], &replica.own),
            None if name == PARTA => self.start(&composed),
            None => self.start(&["serve", "--only", name]),
        };
        self.running.entry(name).insert_entry(process).into_mut()
    }

    /// Returns the process of a service.
    pub(super) fn of(&self, service: &'static str) -> &'static str {
        if self.is_split { service } else { PARTA }
    }

    /// Returns whether the test expects this log line.
    pub(super) fn expects(&self, complaint: &Value) -> bool {
        let printed = complaint.to_string();
        self.expected.iter().any(|text| printed.contains(text))
    }
}
