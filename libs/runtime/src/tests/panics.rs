//! A panic is logged by its place, without its message. The hook belongs to a whole process, so that the test
//! starts itself again as one.
use std::process::{Command, ExitCode};

use super::two_services::{
    Client, GET_CHAT, MEMBERSHIP, NAME_IN_PANIC, PANICKING_CHAT, person, reason, settings,
};
use crate::{compose, run, telemetry};

/// Set in the process that panics.
const CHILD: &str = "PARTA_TEST_PANICKING_PROCESS";
const TEST: &str = "tests::panics::message_of_a_panic_is_in_no_output";

/// Serves a call whose handler panics, with the log and the hook of a real process.
fn panicking_process() -> ExitCode {
    run(async {
        let folder = tempfile::tempdir()?;
        let settings = settings(folder.path(), &[]);
        let _telemetry = telemetry::init("parta", &settings.log, &settings.telemetry)?;
        let running = compose(&[MEMBERSHIP, PANICKING_CHAT], &settings).await?;
        let token = person(folder.path());
        let status = Client::of(&running).call(GET_CHAT, Some(&token)).await;
        assert_eq!(reason(&status.unwrap_err()), "INTERNAL");
        running.stop().await;
        Ok(())
    })
}

#[test]
fn message_of_a_panic_is_in_no_output() {
    if std::env::var_os(CHILD).is_some() {
        assert_eq!(panicking_process(), ExitCode::SUCCESS);
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{printed}");
    let logged: Vec<_> = printed
        .lines()
        .filter(|line| line.contains("two_services.rs"))
        .collect();
    assert_eq!(logged.len(), 1, "{printed}");
    assert!(
        logged[0].contains("ERROR") && logged[0].contains("thread="),
        "{printed}"
    );
    assert!(
        !printed.contains(NAME_IN_PANIC) && !printed.contains("has no class"),
        "{printed}"
    );
}
