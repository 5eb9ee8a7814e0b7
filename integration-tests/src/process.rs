use std::{
    ffi::OsStr,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
};
use tokio_util::task::TaskTracker;

/// Time limit for the start and the end of a process.
const PATIENCE: Duration = Duration::from_secs(60);

/// Target of the DEBUG events with which servers report refusals.
pub(crate) const REFUSALS: &str = "parta_grpc::refusal";

/// A real process of the suite and its log.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    serving: watch::Receiver<bool>,
    tracker: TaskTracker,
}

impl Process {
    /// Starts a program that logs JSON lines to standard error.
    pub fn start<S: AsRef<OsStr>>(
        program: &str,
        words: &[&str],
        settings: impl IntoIterator<Item = (S, S)>,
    ) -> Self {
        let mut child = Command::new(program)
            .args(words)
            .env_clear()
            .envs(settings)
            .env("PARTA__LOG__FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let log = Arc::<Mutex<Vec<Value>>>::default();
        let (says, serving) = watch::channel(false);
        let tracker = TaskTracker::new();
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let kept = log.clone();
        tracker.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                let serves = event["fields"]["message"] == "serving";
                report_refusal(&event);
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                if serves {
                    says.send_replace(true);
                }
            }
        });
        tracker.close();
        Self {
            name: words.join(" "),
            child,
            log,
            serving,
            tracker,
        }
    }

    /// Waits until the process logs that it serves.
    pub async fn serving(&mut self) {
        let ready = tokio::time::timeout(PATIENCE, self.serving.wait_for(|serves| *serves)).await;
        let ready = ready.is_ok_and(|r| r.is_ok());
        assert!(ready, "{} did not start: {:#?}", self.name, self.log());
    }

    /// Waits until the process has ended by itself with success.
    pub async fn finished(mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        self.tracker.wait().await;
        let success = ended.is_ok_and(|e| e.is_ok_and(|status| status.success()));
        assert!(success, "{} failed: {:#?}", self.name, self.log());
    }

    /// Kills the process with SIGKILL, without a shutdown.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the process can be killed");
        self.tracker.wait().await;
    }

    /// Stops the process with SIGTERM. Fails unless the process succeeds.
    pub async fn stop(self) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(sent.is_ok_and(|s| s.success()), "the signal was not delivered");
        self.finished().await;
    }

    /// Returns the log so far, one JSON object per line.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the log lines at WARN or ERROR.
    pub fn complaints(&self) -> Vec<Value> {
        let bad = |event: &Value| event["level"] == "WARN" || event["level"] == "ERROR" || event.is_string();
        self.log().into_iter().filter(bad).collect()
    }

    /// Returns the process id, or `None` after the end.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }
}

/// Reports a refusal that a server logged to the running test.
fn report_refusal(event: &Value) {
    let field = |name: &str| event["fields"][name].as_str();
    if event["target"] == REFUSALS
        && let (Some(rpc), Some(domain), Some(reason)) = (field("rpc"), field("domain"), field("reason"))
    {
        parta_testkit::refused(rpc, domain, reason);
    }
}

/// Returns the resident memory of a process in KiB, or 0 after its end.
pub fn resident_kib(id: u32) -> f64 {
    status_kib(id, "VmRSS:")
}

/// Returns the largest resident memory that a process has had, in KiB, or 0 after its end.
pub fn peak_kib(id: u32) -> f64 {
    status_kib(id, "VmHWM:")
}

fn status_kib(id: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default()
}

/// Returns the number of open descriptors of a process, or 0 after its end.
pub fn open_descriptors(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}
