//! The program itself: how it starts, what it says, how it ends.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use std::{
    path::Path,
    process::{Output, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// `parta` in a folder of its own, without what the environment may say of another suite.
fn parta(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parta"));
    command.current_dir(folder).env_clear().kill_on_drop(true);
    command
}

async fn run(folder: &Path, words: &[&str]) -> Output {
    parta(folder).args(words).output().await.unwrap()
}

/// A process that serves: what it greets with, and its log.
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

    /// The address in its greeting, which comes when everything serves.
    async fn address(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).await.unwrap();
        let rest = line.strip_prefix("Parta listens on ").unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// Sends SIGTERM; answers whether it ended well, and what else it said and logged.
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
fn it_starts_stops_and_starts_again_without_a_warning() {
    parta_testkit::run(async {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut serving = Serving::start(folder.path(), &[]);
            let address = serving.address().await;
            // The operator's key is found where a first start puts it.
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
fn it_greets_nobody_where_a_program_reads_the_log() {
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
fn a_suite_that_is_not_there_is_told_from_one_that_refuses() {
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
fn nobody_reading_is_no_reason_to_panic() {
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
