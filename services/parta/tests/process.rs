//! The `parta` program: its start, its output and its end.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod busy_server;

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use busy_server::BusyServer;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
};

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
    said: BufReader<ChildStdout>,
    log: BufReader<ChildStderr>,
}

impl Serving {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = parta(folder)
            .args(["--set", "server.listen=127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, log) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self {
            child,
            said: BufReader::new(said),
            log: BufReader::new(log),
        }
    }

    /// Returns the address from the greeting, which is printed once all services serve.
    async fn address(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).await.unwrap();
        let rest = line.strip_prefix("Parta listens on ").unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// Sends SIGTERM. Returns whether the process succeeded, and the rest of its output and its log.
    async fn end(mut self) -> (bool, String, String) {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        assert!(sent.success());
        let (mut said, mut log) = (String::new(), String::new());
        self.log.read_to_string(&mut log).await.unwrap();
        self.said.read_to_string(&mut said).await.unwrap();
        (self.child.wait().await.unwrap().success(), said, log)
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
            let (well, said, log) = serving.end().await;
            assert!(well && said.contains("parta demo"), "{said}{log}");
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
        let mut line = String::new();
        while !line.contains(r#""message":"serving""#) {
            line.clear();
            assert_ne!(serving.log.read_line(&mut line).await.unwrap(), 0, "it ended");
        }
        let (well, said, log) = serving.end().await;
        assert!(well && said.is_empty(), "{said}{log}");
    });
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
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
            assert!(said.starts_with("error: "), "{said}");
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
        let (said, why) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{why}");
        assert!(said.contains("approved: Школа № 1 is org_x"), "{said}");
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
