//! The `parta` program: its start, its output and its end.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod backup;
mod busy_server;
mod killed_migration;
mod pooled;
mod single_node;

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use busy_server::BusyServer;
use single_node::Pod;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// Time limit of a start that must fail.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Returns a command for `parta` in its own folder, with an empty environment.
fn parta(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parta"));
    command.current_dir(folder).env_clear().kill_on_drop(true);
    command
}

async fn run(folder: &Path, words: &[&str]) -> Output {
    parta(folder).args(words).output().await.unwrap()
}

/// A serving process with its standard output and its log.
struct Serving {
    child: Child,
    printed: BufReader<ChildStdout>,
    log: BufReader<ChildStderr>,
}

impl Serving {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut command = parta(folder);
        Self::spawn(command.args(["--set", "server.listen=127.0.0.1:0"]).args(more))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (printed, log) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self {
            child,
            printed: BufReader::new(printed),
            log: BufReader::new(log),
        }
    }

    /// Returns the address from the greeting, which is printed once all services serve.
    async fn address(&mut self) -> String {
        let mut line = String::new();
        self.printed.read_line(&mut line).await.unwrap();
        let rest = line.strip_prefix("Parta listens on ").unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// Waits for a line of the log that contains this text.
    async fn logged(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).await.unwrap(), 0, "it ended");
        }
    }

    /// Sends SIGTERM. Returns whether the process succeeded, and the rest of its output and its log.
    async fn end(mut self) -> (bool, String, String) {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        assert!(sent.success());
        let (mut printed, mut log) = (String::new(), String::new());
        self.log.read_to_string(&mut log).await.unwrap();
        self.printed.read_to_string(&mut printed).await.unwrap();
        (self.child.wait().await.unwrap().success(), printed, log)
    }
}

#[test]
fn parta_starts_twice_without_a_warning() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut serving = Serving::start(folder.path(), &[]);
            let address = serving.address().await;
            // The default path is where the first start writes the operator's key.
            let listed = run(folder.path(), &["application", "list", "--server", &address]).await;
            assert_eq!(listed.stdout, b"no applications are waiting\n");
            let (well, printed, log) = serving.end().await;
            assert!(well && printed.contains("parta demo"), "{printed}{log}");
            assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
            assert!(log.trim_end().ends_with("stopped"), "{log}");
        }
    });
}

#[test]
fn greeting_is_omitted_when_the_log_is_json() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let mut serving = Serving::start(folder.path(), &["--set", "log.format=json"]);
        serving.logged(r#""message":"serving""#).await;
        let (well, printed, log) = serving.end().await;
        assert!(well && printed.is_empty(), "{printed}{log}");
    });
}

/// Starts the pod as it is rendered, except for the folders and the port.
#[test]
fn rendered_single_node_serves_with_its_mounted_keys() {
    parta_testkit::run(async {
        let (folder, pod) = (tempfile::tempdir().unwrap(), Pod::read());
        let made = ["keys", "make", "--folder", "keys", "--kubernetes"];
        let made = run(folder.path(), &made).await;
        let mounted = folder.path().join("mounted");
        pod.mount_keys(&made.stdout, &mounted);
        let before = std::fs::read_dir(&mounted).unwrap().count();
        let more = [
            "server.listen=127.0.0.1:0",
            "server.drain_seconds=0",
            "data.folder=volume",
            "keys.folder=mounted",
        ];
        let mut child = parta(folder.path())
            .args(&pod.arguments)
            .args(more.iter().flat_map(|key| ["--set", *key]))
            .envs(pod.environment.clone())
            .env("PARTA__MEMBERSHIP__DELIVERY", "sms_gateway")
            .env("PARTA__MEMBERSHIP__SMS_URL", "https://sms.example/send")
            .env("PARTA__MEMBERSHIP__SMS_BODY", "to={phone}&text={text}")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap());
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut serving = Serving { child, printed, log };
        let mut line = String::new();
        while !line.contains(r#""message":"serving""#) {
            line.clear();
            assert_ne!(serving.log.read_line(&mut line).await.unwrap(), 0, "it ended");
        }
        let (_, rest) = line.split_once(r#""address":""#).unwrap();
        let address = format!("http://{}", rest.split('"').next().unwrap());
        // The mounted keys have the digest of the operator's key, which stays where it was made.
        let list = ["application", "list", "--server", address.as_str()];
        let key = ["--operator-key-file", "keys/operator.key"];
        let listed = run(folder.path(), &[list.as_slice(), &key].concat()).await;
        assert_eq!(listed.stdout, b"no applications are waiting\n");
        let (well, _, log) = serving.end().await;
        assert!(well && !log.contains("ERROR"), "{log}");
        assert_eq!(
            std::fs::read_dir(&mounted).unwrap().count(),
            before,
            "no key is made beside the mounted ones"
        );
    });
}

#[test]
fn missing_keys_and_settings_are_named_at_the_start() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let made = ["keys", "make", "--folder", "keys"];
        assert!(run(folder.path(), &made).await.status.success());
        let cases = [
            (vec!["chat.database_url="], "set `chat.database_url`"),
            (vec!["chat.database_urll=x"], "database_urll"),
            (
                vec!["chat.database_migrate_url=sqlite://x"],
                "database_migrate_url",
            ),
        ];
        for (keys, named) in cases {
            let set = keys.iter().flat_map(|key| ["--set", *key]);
            let words = ["--profile", "kubernetes", "--set", "keys.folder=keys"];
            let words: Vec<&str> = words.into_iter().chain(set).collect();
            for task in [vec!["migrate", "chat"], vec!["serve", "--only", "chat"]] {
                let output = run(folder.path(), &[words.as_slice(), task.as_slice()].concat()).await;
                let printed = String::from_utf8(output.stderr).unwrap();
                assert!(
                    !output.status.success() && printed.contains(named),
                    "{task:?}: {printed}"
                );
            }
        }
    });
}

/// The container that migrates gets two values of a Secret. If the second one is empty, the role that serves
/// must not migrate in its place.
#[test]
fn empty_value_of_a_secret_is_named_at_the_start() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let variables = ["PARTA__CHAT__DATABASE_URL", "PARTA__CHAT__DATABASE_MIGRATE_URL"];
        for empty in variables {
            let mut migrate = parta(folder.path());
            migrate.args(["--profile", "kubernetes", "migrate", "chat"]);
            for variable in variables {
                let url = "postgres://chat:p@127.0.0.1:9/chat";
                migrate.env(variable, if variable == empty { "" } else { url });
            }
            let ended = tokio::time::timeout(START_LIMIT, migrate.output()).await;
            let output = ended.unwrap().unwrap();
            let printed = String::from_utf8(output.stderr).unwrap();
            let named = format!("{empty} is empty");
            assert!(!output.status.success() && printed.contains(&named), "{printed}");
        }
    });
}

#[test]
fn files_of_the_command_line_must_not_be_empty() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        std::fs::write(folder.path().join("key"), "opk_nobody").unwrap();
        for (key, authority, named) in [
            ("empty", None, "the operator's key empty is empty"),
            ("key", Some("empty"), "empty has no certificate"),
        ] {
            let more = authority.map(|file| ["--tls-authority-file", file]);
            let more: Vec<&str> = more.into_iter().flatten().collect();
            for command in [vec!["application", "list"], vec!["demo"]] {
                let key = ["--operator-key-file", key];
                let words = [command.as_slice(), &key, more.as_slice()].concat();
                let output = run(folder.path(), &words).await;
                let printed = String::from_utf8(output.stderr).unwrap();
                assert!(
                    output.status.code() == Some(1) && printed.contains(named),
                    "{words:?}: {printed}"
                );
            }
        }
    });
}

/// A Secret of keys in which one file is missing or empty, for the service that signs tokens and for another
/// one.
#[test]
fn each_missing_or_empty_key_file_is_named_at_the_start() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let make = ["keys", "make", "--folder", "keys", "--kubernetes"];
        let made = run(folder.path(), &make).await;
        let secrets: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        for service in ["membership", "chat"] {
            let name = format!("parta-keys-{service}");
            let mut secrets = secrets["items"].as_array().unwrap().iter();
            let secret = secrets
                .find(|secret| secret["metadata"]["name"] == *name)
                .unwrap();
            let files = single_node::files(secret);
            assert!(files.len() >= 8, "{files:?}");
            for wrong in files.keys() {
                for content in [None, Some("\n")] {
                    let mounted = tempfile::tempdir_in(folder.path()).unwrap();
                    for (name, text) in files.iter().filter(|(name, _)| *name != wrong) {
                        std::fs::write(mounted.path().join(name), text).unwrap();
                    }
                    if let Some(content) = content {
                        std::fs::write(mounted.path().join(wrong), content).unwrap();
                    }
                    let refusal = serve_with_keys(service, mounted.path()).await;
                    let named = mounted.path().join(wrong).display().to_string();
                    assert!(
                        refusal.contains(&named),
                        "{service}, {wrong} is {content:?}: {refusal}"
                    );
                }
            }
        }
    });
}

/// Without a handler of the signal, a migration that waits for its database would hold the pod up until it is
/// killed, because it is the first process of its container.
#[test]
fn migration_that_waits_ends_by_a_signal() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let mut command = parta(folder.path());
        command
            .args(["--set", "chat.database_url=postgres://chat@127.0.0.1:9/chat"])
            .args(["migrate", "chat"]);
        let mut migration = Serving::spawn(&mut command);
        migration.logged("database unavailable, waiting for it").await;
        let (success, _, log) = migration.end().await;
        assert!(!success && log.contains("error: stopped by a signal"), "{log}");
    });
}

/// A database that the configuration names is as private as one of the data folder.
#[cfg(unix)]
#[test]
fn new_sqlite_file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chat.db");
        let url = format!("chat.database_url=sqlite://{}", file.display());
        let migrate = ["--set", &url, "migrate", "chat"];
        let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert!(run(folder.path(), &migrate).await.status.success());
        assert_eq!(mode(), 0o600);
        // The rights that an operator has given stay.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(run(folder.path(), &migrate).await.status.success());
        assert_eq!(mode(), 0o640);
    });
}

/// Starts a service of a cluster with these keys, and returns why it ends. No server of the cluster can be
/// reached, because the keys are read before.
async fn serve_with_keys(service: &str, keys: &Path) -> String {
    let section = service.replace('-', "_");
    let mut settings = vec![
        format!("keys.folder={}", keys.display()),
        format!("{section}.database_url=postgres://{section}@127.0.0.1:9/{section}"),
    ];
    if service == "membership" {
        let delivery = [
            "delivery=smtp",
            "smtp_url=smtps://mail.example",
            "mail_from=no-reply@school.example",
        ];
        settings.extend(delivery.map(|setting| format!("membership.{setting}")));
    }
    let ends = parta(keys)
        .args(["--profile", "kubernetes"])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .args(["serve", "--only", service])
        .output();
    // Without an end in time, the service serves, or waits for its database.
    let ended = tokio::time::timeout(START_LIMIT, ends).await.unwrap().unwrap();
    assert!(!ended.status.success());
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn exit_code_distinguishes_unreachable_suite_and_wrong_usage() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("operator.key");
        std::fs::write(&key, "opk_nobody").unwrap();
        let cases: [(&[&str], i32); 5] = [
            (&["demo"], 3),
            (&["application", "list"], 3),
            (&["application", "bury"], 2),
            (&["demo", "--service", "nowhere=http://127.0.0.1:9"], 2),
            (&["roster", "import", ".", "--yes", "--dry-run"], 2),
        ];
        for (command, code) in cases {
            let more = [
                "--server",
                "http://127.0.0.1:9",
                "--operator-key-file",
                "operator.key",
            ];
            let output = run(folder.path(), &[command, &more].concat()).await;
            let printed = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{command:?}: {printed}");
            assert!(printed.starts_with("error: "), "{printed}");
        }
    });
}

#[test]
fn refused_call_is_repeated_with_its_request_id() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("operator.key"), "opk_test").unwrap();
        let server = BusyServer::start(5, Duration::from_millis(20)).await;
        let words = [
            "application",
            "approve",
            "app_x",
            "--server",
            &server.url,
            "--operator-key-file",
            "operator.key",
        ];
        let output = run(folder.path(), &words).await;
        let (printed, why) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{why}");
        assert!(printed.contains("approved: Школа № 1 is org_x"), "{printed}");
        let requests = server.requests();
        assert_eq!(requests.len(), 6);
        assert!(!requests[0].request_id.is_empty());
        assert!(requests.iter().all(|request| *request == requests[0]));
    });
}

#[test]
fn closed_pipes_do_not_cause_a_panic() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        let closed = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        let ended = parta(folder.path())
            .args(["application", "list"])
            .stdout(closed())
            .stderr(closed())
            .status();
        assert_eq!(ended.await.unwrap().code(), Some(1));
    });
}
