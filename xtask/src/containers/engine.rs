//! A Docker engine: the one that responds, or one that is started for this command.
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use crate::{describe, servers, target};

/// An engine that was started here and does not respond within this time has failed.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The longest path of a Unix socket.
const SOCKET_PATH_BYTES: usize = 107;

/// A running engine. An engine that was started here stops when this value is dropped.
pub(crate) struct Engine {
    /// The address of an engine that was started here; `None` is the address that the client uses by itself.
    host: Option<String>,
    started: Option<Started>,
}

/// Only one engine is started on a machine at a time, because each rewrites the same rules of the firewall.
struct Started {
    daemon: Child,
    _lock: File,
}

impl Drop for Started {
    fn drop(&mut self) {
        // SIGTERM stops the containers and containerd too; SIGKILL would leave them.
        let pid = self.daemon.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.daemon.wait();
    }
}

impl Engine {
    /// Returns the engine that responds. Otherwise installs an engine (as root on Debian only) and starts it
    /// with its data, its state and its socket below the target directory.
    pub(crate) fn provide() -> anyhow::Result<Self> {
        let responding = Self {
            host: None,
            started: None,
        };
        if responding.responds() {
            println!("xtask: Docker: the engine that responds");
            return Ok(responding);
        }
        let install = |program: &str, package: &str| {
            servers::local(program, package, || servers::in_path(program)).with_context(|| {
                format!("no Docker engine responds, and {program} cannot be installed to start one")
            })
        };
        let daemon = install("dockerd", "docker.io")?;
        install("iptables", "iptables")?;
        // A part of docker.io on Debian 12, and a package of its own later.
        install("docker", "docker-cli")?;
        ensure!(
            servers::is_root(),
            "no Docker engine responds, and only root can start one"
        );
        Self::start(&daemon)
    }

    fn start(daemon: &Path) -> anyhow::Result<Self> {
        let lock = File::create(std::env::temp_dir().join("parta-docker-engine.lock"))?;
        if lock.try_lock().is_err() {
            println!("xtask: Docker: waiting for the engine of another command");
            lock.lock()?;
        }
        let folder = target().join("docker");
        fs::create_dir_all(&folder)?;
        let folder = fs::canonicalize(&folder)?;
        let (socket, state) = (folder.join("socket"), folder.join("state"));
        // The path of containerd's socket is the longest one.
        let longest = state.join("containerd/containerd.sock.ttrpc");
        ensure!(
            longest.as_os_str().len() <= SOCKET_PATH_BYTES,
            "the path {} is too long for a socket: set CARGO_TARGET_DIR to a shorter one",
            longest.display()
        );
        let (log, pid_file) = (folder.join("log"), folder.join("pid"));
        // Left by an engine that was killed. The lock says that it does not run.
        let _ = fs::remove_file(&pid_file);
        let host = format!("unix://{}", socket.display());
        // The engine ends with this process, also if this process is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(daemon);
        command.arg("--data-root").arg(folder.join("data"));
        command.arg("--exec-root").arg(&state);
        command.arg("--pidfile").arg(&pid_file);
        // Every container has a network of its own run, so the default network is not needed.
        command.args(["--host", &host, "--bridge", "none"]);
        let output = File::create(&log)?;
        command.stdout(output.try_clone()?).stderr(output);
        let daemon = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started", describe(&command)))?;
        let mut engine = Self {
            host: Some(host),
            started: Some(Started { daemon, _lock: lock }),
        };
        engine.wait(&log)?;
        // Left by a command that was killed: containers, networks, and images that have no name any more.
        engine.output(&["system", "prune", "--force"])?;
        println!(
            "xtask: Docker: an engine of this command, in {}",
            folder.display()
        );
        Ok(engine)
    }

    /// Waits until the engine responds.
    fn wait(&mut self, log: &Path) -> anyhow::Result<()> {
        let end = Instant::now() + START_LIMIT;
        while !self.responds() {
            let exited = match &mut self.started {
                Some(started) => started.daemon.try_wait()?,
                None => None,
            };
            if exited.is_some() || Instant::now() > end {
                let log = fs::read_to_string(log).unwrap_or_default();
                bail!("the Docker engine does not start:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn responds(&self) -> bool {
        let mut info = self.docker();
        // Without an engine, the client prints its own version and fails.
        info.args(["version", "--format", "{{.Server.Version}}"]);
        info.output().is_ok_and(|output| output.status.success())
    }

    /// Returns a command of the client that calls this engine.
    pub(crate) fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.envs(self.environment());
        docker
    }

    /// Returns the environment with which other clients call this engine.
    pub(crate) fn environment(&self) -> Option<(&'static str, &str)> {
        Some(("DOCKER_HOST", self.host.as_deref()?))
    }

    /// Runs the client and returns its output.
    pub(crate) fn output(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.docker();
        command.args(arguments);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output()?;
        ensure!(
            status.success(),
            "{}: {}",
            describe(&command),
            String::from_utf8_lossy(&stderr).trim()
        );
        Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
    }

    /// Builds an image from a folder that has everything.
    pub(crate) fn build(&self, image: &str, containerfile: &Path, context: &Path) -> anyhow::Result<()> {
        let mut build = self.docker();
        // The builder that needs no plugin of the client.
        build.env("DOCKER_BUILDKIT", "0");
        build.args(["build", "--quiet", "--tag", image, "--file"]);
        build.arg(containerfile).arg(context).stderr(Stdio::null());
        let output = build.output()?;
        ensure!(output.status.success(), "{} failed", describe(&build));
        Ok(())
    }

    /// Returns the size of an image in megabytes.
    pub(crate) fn megabytes(&self, image: &str) -> anyhow::Result<f64> {
        let size = self.output(&["image", "inspect", "--format", "{{.Size}}", image])?;
        Ok(size.parse::<f64>()? / 1e6)
    }

    /// Returns the folder in which files for images are prepared.
    pub(crate) fn workspace() -> PathBuf {
        target().join("docker")
    }
}
