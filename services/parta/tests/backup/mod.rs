//! `parta backup` and `parta restore`, as docs/operations/backup.md describes them.
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use parta_testkit::TestDatabase;
use serde_json::Value;

use super::*;

const SERVICES: [&str; 5] = [
    "chat",
    "call_scheduling",
    "org_registry",
    "membership",
    "invitation",
];

/// Keys that `age-keygen` made for these tests.
const RECIPIENT: &str = "age10zzlgzjadqscccv90d3c3flkp0x3jpsphxwtrlecszu37chr2yrsuz4sfz";
const KEY: &str = "AGE-SECRET-KEY-13MF7KWQP8RFLTHH83Q5HKMG6TRVQXM842EP9HNNX7TF2Z436HH4QQFE2QV";
const ANOTHER_KEY: &str = "AGE-SECRET-KEY-1F8ZD8CK3UFZHD5NKCT7JLN44GF483AKZLVWR6G9CHH4YG7J8808SXXFLMQ";

/// An installation with its databases, and a school in it.
struct Installation {
    folder: tempfile::TempDir,
    set: Vec<String>,
    databases: Vec<TestDatabase>,
}

impl Installation {
    fn sqlite() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            set: Vec::new(),
            databases: Vec::new(),
        }
    }

    async fn postgres() -> Self {
        let mut installation = Self::sqlite();
        for service in SERVICES {
            let database = TestDatabase::postgres().await;
            let url = database.url();
            installation
                .set
                .extend(["--set".to_owned(), format!("{service}.database_url={url}")]);
            // Few, because the tests share a server.
            let few = format!("{service}.database_max_connections=4");
            installation.set.extend(["--set".to_owned(), few]);
            installation.databases.push(database);
        }
        installation
    }

    /// Another installation of the same kind, without anything in it.
    async fn another(&self) -> Self {
        if self.databases.is_empty() {
            Self::sqlite()
        } else {
            Self::postgres().await
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn start(&self) -> Serving {
        let set: Vec<_> = self.set.iter().map(String::as_str).collect();
        Serving::start(self.path(), &set)
    }

    /// Runs a command with the configuration of the installation.
    async fn run(&self, words: &[&str]) -> Output {
        let mut command = parta(self.path());
        command.args(words).args(&self.set);
        command.env("PATH", std::env::var("PATH").unwrap());
        command.output().await.unwrap()
    }

    async fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words).await;
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {printed}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that fails, and returns its message.
    async fn fails(&self, words: &[&str]) -> String {
        let output = self.run(words).await;
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    async fn play(&self, serving: &mut Serving) {
        let address = serving.address().await;
        self.succeeds(&["demo", "--server", &address]).await;
    }

    /// Returns the schemas and heads of the databases, from a new backup.
    async fn state(&self, name: &str) -> Vec<Value> {
        let printed = self.succeeds(&["backup", name, "--output", "json"]).await;
        let manifest: Value = serde_json::from_str(&printed).unwrap();
        let copies = manifest["databases"].as_array().unwrap().iter();
        copies
            .map(|copy| serde_json::json!([copy["service"], copy["schema"], copy["heads"]]))
            .collect()
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn restored_installation_has_what_was_backed_up(first: Installation) {
    let mut serving = first.start();
    first.play(&mut serving).await;
    let made = first.state("backup").await;
    assert_eq!(made.len(), 5);
    assert!(made.iter().any(|copy| copy[2] != 0), "{made:?}");
    let backup = first.path().join("backup");
    assert_eq!(mode(&backup), 0o700);
    assert_eq!(files(&backup).len(), 6);
    for file in files(&backup) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    // An existing folder is never written to.
    let printed = first.fails(&["backup", "backup"]).await;
    assert!(
        printed.contains("backup") && printed.contains("does not exist yet"),
        "{printed}"
    );
    let (well, _, log) = serving.end().await;
    assert!(well, "{log}");

    let second = first.another().await;
    let printed = second.succeeds(&["restore", &text(&backup)]).await;
    assert!(
        printed.contains("suite.secret") && printed.contains("sessions have ended"),
        "{printed}"
    );
    assert!(printed.contains("changes of roles"), "{printed}");
    assert!(
        printed.contains("keys of service accounts were revoked"),
        "{printed}"
    );
    assert_eq!(second.state("again").await, made);
    // An existing database is not replaced unless that is requested.
    let printed = second.fails(&["restore", &text(&backup)]).await;
    assert!(printed.contains("--replace"), "{printed}");
    let mut serving = second.start();
    serving.address().await;
    // Nothing is changed while a service runs.
    let command: &[&[&str]] = &[&["restore", &text(&backup), "--replace"], &["recover"]];
    for words in command {
        let printed = second.fails(words).await;
        assert!(
            printed.contains("in use") || printed.contains("stop it"),
            "{printed}"
        );
    }
    let (well, _, log) = serving.end().await;
    assert!(well && !log.contains("ERROR"), "{log}");
    second.succeeds(&["restore", &text(&backup), "--replace"]).await;
    assert_eq!(second.state("third").await, made);
    second.succeeds(&["expire-cursors", "--only", "membership"]).await;
    let printed = second
        .succeeds(&["recover", "--keep-links", "--keep-service-accounts"])
        .await;
    assert!(printed.contains("0 sessions have ended"), "{printed}");
    assert!(
        printed.contains("keys that were revoked after the backup are valid again"),
        "{printed}"
    );
}

#[test]
fn backup_of_a_serving_sqlite_restores_elsewhere() {
    parta_testkit::run_for(Duration::from_secs(240), async {
        restored_installation_has_what_was_backed_up(Installation::sqlite()).await;
    });
}

#[test]
fn backup_of_a_serving_postgresql_restores_elsewhere() {
    parta_testkit::run_for(Duration::from_secs(240), async {
        restored_installation_has_what_was_backed_up(Installation::postgres().await).await;
    });
}

#[test]
fn absent_pg_dump_is_named() {
    parta_testkit::run(async {
        let first = Installation::postgres().await;
        let mut serving = first.start();
        serving.address().await;
        let mut command = parta(first.path());
        command
            .args(["backup", "backup"])
            .args(&first.set)
            .env("PATH", "/nonexistent");
        let output = command.output().await.unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(
            printed.contains("pg_dump was not found") && printed.contains("install"),
            "{printed}"
        );
        assert!(!first.path().join("backup").exists());
        serving.end().await;
    });
}

/// Makes a backup of an installation without a school.
async fn backed_up(first: &Installation, options: &[&str]) -> PathBuf {
    let mut serving = first.start();
    serving.address().await;
    first.succeeds(&[&["backup", "backup"], options].concat()).await;
    serving.end().await;
    first.path().join("backup")
}

async fn damaged_backup_changes_nothing(first: Installation) {
    let backup = backed_up(&first, &[]).await;
    let second = first.another().await;
    let name = match first.databases.is_empty() {
        true => "membership.sqlite",
        false => "membership.dump",
    };
    let file = backup.join(name);
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[5_000] ^= 1;
    for (content, why) in [
        (Some(damaged.as_slice()), "damaged"),
        (Some(&whole[1..]), "bytes instead of"),
        (None, "is missing"),
    ] {
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let printed = second.fails(&["restore", &text(&backup)]).await;
        assert!(printed.contains(why) && printed.contains(name), "{printed}");
    }
    fs::write(&file, &whole).unwrap();
    let manifest = backup.join("manifest.json");
    let known = fs::read_to_string(&manifest).unwrap();
    for (from, to, why) in [
        // A schema of a newer version of Parta, which this build does not know.
        (
            r#""required": []"#,
            r#""required": ["chat_9999_next"]"#,
            "chat_9999_next",
        ),
        (
            r#""format": 1"#,
            r#""format": 2"#,
            "no manifest that this version",
        ),
    ] {
        let changed = known.replacen(from, to, 1);
        assert_ne!(changed, known);
        fs::write(&manifest, changed).unwrap();
        let printed = second.fails(&["restore", &text(&backup)]).await;
        assert!(printed.contains(why), "{printed}");
    }
    fs::remove_file(&manifest).unwrap();
    let printed = second.fails(&["restore", &text(&backup)]).await;
    assert!(printed.contains("finished backup"), "{printed}");
    // Nothing was changed: the target is still empty, so that nothing has to be replaced.
    fs::write(&manifest, known).unwrap();
    second.succeeds(&["restore", &text(&backup)]).await;
}

#[test]
fn damaged_backup_of_sqlite_changes_nothing() {
    parta_testkit::run(damaged_backup_changes_nothing(Installation::sqlite()));
}

#[test]
fn damaged_backup_of_postgresql_changes_nothing() {
    parta_testkit::run(async {
        damaged_backup_changes_nothing(Installation::postgres().await).await;
    });
}

#[test]
fn backup_of_another_kind_of_database_is_refused() {
    parta_testkit::run(async {
        let first = Installation::sqlite();
        let backup = backed_up(&first, &[]).await;
        let second = Installation::postgres().await;
        let printed = second.fails(&["restore", &text(&backup)]).await;
        assert!(printed.contains("another kind of database"), "{printed}");
    });
}

#[test]
fn encrypted_backup_needs_its_key() {
    parta_testkit::run(async {
        let options = ["--encrypt-to", RECIPIENT, "--include-suite-secret"];
        let first = Installation::sqlite();
        let backup = backed_up(&first, &options).await;
        assert_eq!(files(&backup).len(), 7);
        for file in files(&backup) {
            let content = fs::read(&file).unwrap();
            let manifest = file.ends_with("manifest.json");
            assert_eq!(content.starts_with(b"age-encryption.org/v1"), !manifest);
        }
        let second = Installation::sqlite();
        let printed = second.fails(&["restore", &text(&backup)]).await;
        assert!(printed.contains("--identity-file"), "{printed}");
        for (key, well) in [(ANOTHER_KEY, false), (KEY, true)] {
            let text_of_key = format!("# a comment\n{key}\n");
            fs::write(second.path().join("key.txt"), text_of_key).unwrap();
            let restore = ["restore", &text(&backup), "--identity-file", "key.txt"];
            let output = second.run(&restore).await;
            let printed = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), well, "{printed}");
            assert_eq!(printed.contains("cannot decrypt"), !well, "{printed}");
        }
        let secret = |of: &Installation| fs::read(of.path().join("data/keys/suite.secret")).unwrap();
        assert_eq!(secret(&second), secret(&first));
    });
}

/// The tests of this module and of integration-tests/tests/all/restored.rs execute these commands. A new
/// command of the page needs a test.
#[test]
fn page_has_only_commands_that_the_tests_execute() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations/backup.md");
    let text = fs::read_to_string(page).unwrap();
    let commands: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("    parta "))
        .map(|line| line.replace(" /var/backups/parta-2026-11-27", ""))
        .collect();
    let executed = [
        "backup",
        "backup --encrypt-to age1...",
        "restore",
        "restore --identity-file key.txt",
        "restore --only membership --replace",
        "expire-cursors --only membership",
        "recover",
    ];
    assert_eq!(commands, executed);
}
