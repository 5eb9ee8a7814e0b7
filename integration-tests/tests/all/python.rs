//! A client in another language needs only the protos.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use std::path::{Path, PathBuf};

use parta_integration_tests::Suite;
use tokio::process::Command;

/// Environment variable with the Python interpreter that has grpcio-tools. `cargo xtask test` sets it.
const PYTHON: &str = "PARTA_TEST_PYTHON";

fn protos(folder: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    let files = all.map(|entry| entry.unwrap().into_path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "proto"))
        .collect()
}

async fn succeeds(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

mod python_stubs_can_register_subscribe_and_send {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let python = std::env::var(PYTHON)
                .expect("run the tests by `cargo xtask test`: it gives PARTA_TEST_PYTHON");
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            let (stubs, proto) = (tempfile::tempdir().unwrap(), here.join("../proto"));
            let mut generate = Command::new(&python);
            generate.args(["-m", "grpc_tools.protoc", "-I"]).arg(&proto);
            for out in ["python_out", "grpc_python_out"] {
                generate.arg(format!("--{out}={}", stubs.path().display()));
            }
            succeeds(generate.args(protos(&proto))).await;

            let suite = Suite::one_process().await;
            let address = suite.addresses()["chat"].trim_start_matches("http://").to_owned();
            let mut play = Command::new(&python);
            play.arg(here.join("python/first_steps.py"))
                .arg(address)
                .arg(suite.keys().join("operator.key"))
                .env("PYTHONPATH", stubs.path())
                .env("PYTHONDONTWRITEBYTECODE", "1");
            let printed = succeeds(&mut play).await;
            assert!(printed.starts_with("ok: Здравствуйте, коллеги!"), "{printed}");
            suite.stop().await;
        });
    }
}

#[test]
fn document_for_clients_has_the_code_that_is_tested() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(here.join("../docs/clients.md")).unwrap();
    let tested = std::fs::read_to_string(here.join("python/first_steps.py")).unwrap();
    let blocks: Vec<&str> = document
        .split("```python\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        assert!(tested.contains(block), "{block}");
    }
}
