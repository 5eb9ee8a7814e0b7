//! The program for 64-bit ARM, built on another machine and run under emulation.
use std::{
    fs::File,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

use crate::{free_port, servers, target};

const PLATFORM: &str = "aarch64-unknown-linux-gnu";
/// An emulated server that does not accept connections within this time has failed.
const START_LIMIT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Builds the static program for aarch64 in the dev profile, starts all five services from it under
/// emulation, and plays the demo of this machine's `demo` program against it.
pub(super) fn run(demo: &Path) -> anyhow::Result<()> {
    let emulator = provide("qemu-aarch64-static", "qemu-user-static")?;
    let program = build()?;
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let log = folder.path().join("log");
    let started = Instant::now();
    let server = Command::new(emulator)
        .arg(program)
        .args(["serve", "--set", &format!("server.listen=127.0.0.1:{port}")])
        .current_dir(folder.path())
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .spawn()?;
    let mut server = Emulated(server);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = server.0.try_wait()?;
        if ended.is_some() || started.elapsed() > START_LIMIT {
            bail!(
                "the emulated server does not listen: {}",
                std::fs::read_to_string(&log)?
            );
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    let listening = started.elapsed();
    let played = Instant::now();
    let mut play = Command::new(demo);
    play.args(["demo", "--server", &format!("http://127.0.0.1:{port}")]);
    let played_well = play.current_dir(folder.path()).status()?.success();
    ensure!(played_well, "the demo failed: {}", std::fs::read_to_string(&log)?);
    println!(
        "xtask: aarch64 under emulation: listens after {:.1} s, demo {:.1} s",
        listening.as_secs_f64(),
        played.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The emulated server. It stops when this value is dropped.
struct Emulated(Child);

impl Drop for Emulated {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn build() -> anyhow::Result<PathBuf> {
    let compiler = provide("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")?;
    let compiler_of_cpp = provide("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")?;
    crate::execute(Command::new("rustup").args(["target", "add", PLATFORM]))?;
    let mut build = crate::cargo();
    build.args(["build", "--package", "parta", "--target", PLATFORM]);
    build
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", &compiler)
        .env("CC_aarch64_unknown_linux_gnu", compiler)
        .env("CXX_aarch64_unknown_linux_gnu", compiler_of_cpp)
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    crate::execute(&mut build)?;
    Ok(target().join(PLATFORM).join("debug/parta"))
}

/// Returns the path of a program. Installs its Debian package if the program is missing.
fn provide(program: &str, package: &str) -> anyhow::Result<PathBuf> {
    servers::local(program, package, || servers::in_path(program))
}
