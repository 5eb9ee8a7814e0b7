//! Provides PostgreSQL and NATS for the tests. Each of the two is the server that an environment
//! variable names, else a Docker container, else a local program on a free port with a temporary
//! folder.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::free_port;

/// Environment variables with the URLs of servers that run already. The tests read the same
/// variables.
const POSTGRES_URL: &str = "PARTA_TEST_POSTGRES_URL";
const NATS_URL: &str = "PARTA_TEST_NATS_URL";
/// Environment variable with the folder of PostgreSQL's local programs, for tests that start and
/// crash a server of their own. It is set only if such programs are used.
const POSTGRES_BIN: &str = "PARTA_TEST_POSTGRES_BIN";
/// Environment variable with the path of the program of PgBouncer, which tests start in front of PostgreSQL.
const PGBOUNCER: &str = "PARTA_TEST_PGBOUNCER";
/// Environment variable with the path of an interpreter that has the packages of
/// `integration-tests/python/requirements.txt`.
pub(crate) const PYTHON: &str = "PARTA_TEST_PYTHON";
const POSTGRES_IMAGE: &str = "postgres:15";
const NATS_IMAGE: &str = "nats:2";
/// A setting of PostgreSQL. Its default of 100 is too low for tests that run in parallel.
const MAX_CONNECTIONS: &str = "max_connections=500";

/// The servers that the tests use. Servers that were started here are stopped when this value is dropped.
pub(crate) struct Servers {
    /// The names and values of the variables that the tests need.
    pub(crate) environment: Vec<(&'static str, String)>,
    running: Vec<Running>,
    // Dropped after the servers whose data it holds.
    folder: tempfile::TempDir,
}

enum Running {
    Process(Child),
    Container(String),
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.running {
            match server {
                Running::Process(child) => {
                    // On SIGINT, PostgreSQL shuts down without waiting for its clients, and NATS
                    // stops.
                    let _ = Command::new("kill")
                        .args(["-INT", &child.id().to_string()])
                        .status();
                    let _ = child.wait();
                }
                Running::Container(id) => {
                    let _ = Command::new("docker")
                        .args(["rm", "--force", id])
                        .stdout(Stdio::null())
                        .status();
                }
            }
        }
    }
}

/// A file system in memory, which Linux mounts for the shared memory of processes.
const MEMORY: &str = "/dev/shm";
/// The databases of a whole run take up to 2 GiB at a time. The processes of the tests need the rest.
const MEMORY_NEEDED: u64 = 8 << 30;

/// The place of the data folders of servers that are started here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// For tests. Each test creates databases of several hundred files, and a file system on disk spends a
    /// third of the whole run on them. Tests that crash a server, or lose its unflushed writes, start one of
    /// their own. On a machine with little memory it is the disk too.
    Memory,
    /// For measurements, which include the time of flushing commits.
    Disk,
}

impl Storage {
    fn parent(self) -> PathBuf {
        let has_room = || {
            let available = available_kib("/proc/meminfo", "MemAvailable:")?;
            let free = free_kib(MEMORY)?;
            Some(available.min(free) * 1024 >= MEMORY_NEEDED)
        };
        if self == Self::Memory && has_room() == Some(true) {
            PathBuf::from(MEMORY)
        } else {
            std::env::temp_dir()
        }
    }
}

/// Returns the number after `name` in a file of the kernel such as `/proc/meminfo`.
fn available_kib(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the free space of the file system of a folder; `None` if the folder does not exist.
fn free_kib(folder: &str) -> Option<u64> {
    let mut command = Command::new("df");
    let output = command
        .args(["--output=avail", "--block-size=1K", folder])
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .nth(1)?
        .trim()
        .parse()
        .ok()
}

impl Servers {
    /// Provides both servers and prints which ones are used.
    pub(crate) fn provide(storage: Storage) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("parta-test-")
            .tempdir_in(storage.parent())?;
        // The servers run as an unprivileged user, who must reach the data folders inside.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut servers = Self {
            environment: Vec::new(),
            running: Vec::new(),
            folder,
        };
        servers.postgres()?;
        servers.nats()?;
        servers.pgbouncer()?;
        Ok(servers)
    }

    fn postgres(&mut self) -> anyhow::Result<()> {
        if let Ok(url) = std::env::var(POSTGRES_URL) {
            println!("xtask: PostgreSQL: from {POSTGRES_URL}");
            self.environment.push((POSTGRES_URL, url));
            return Ok(());
        }
        let port = free_port()?;
        let trust = ["-e", "POSTGRES_HOST_AUTH_METHOD=trust"];
        let started = container(port, 5432, &trust, POSTGRES_IMAGE, &["-c", MAX_CONNECTIONS])?;
        if let Some(container) = started {
            println!("xtask: PostgreSQL: a container of {POSTGRES_IMAGE} on port {port}");
            self.running.push(container);
        } else {
            let bin = local("initdb", "postgresql", || postgres_bin("initdb"))?;
            let bin = bin.parent().map(Path::to_path_buf).unwrap_or_default();
            println!(
                "xtask: PostgreSQL: local binaries of {} on port {port}, data in {}",
                bin.display(),
                self.folder.path().display()
            );
            self.environment.push((POSTGRES_BIN, bin.display().to_string()));
            let data = self.data_folder("postgres")?;
            let mut init = unprivileged(&bin.join("initdb"));
            init.args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
            ])
            .arg(&data);
            init.stdout(Stdio::null());
            crate::execute(&mut init)?;
            let mut server = unprivileged(&bin.join("postgres"));
            server
                .arg("-D")
                .arg(&data)
                .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
            // Commits are flushed as in production, because services refuse a server that does not flush.
            server.args([
                "-c",
                MAX_CONNECTIONS,
                "-c",
                "unix_socket_directories=",
                "-c",
                "log_min_messages=fatal",
            ]);
            server.stdout(Stdio::null()).stderr(self.log("postgres")?);
            self.running.push(Running::Process(
                server.spawn().context("PostgreSQL cannot be started")?,
            ));
        }
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        wait_for(port, "PostgreSQL", &self.log_file("postgres"), is_postgres_ready)?;
        self.environment.push((POSTGRES_URL, url));
        Ok(())
    }

    /// Each test starts its own, in the mode that it needs.
    fn pgbouncer(&mut self) -> anyhow::Result<()> {
        let program = match std::env::var(PGBOUNCER) {
            Ok(program) => program,
            Err(_) => local("pgbouncer", "pgbouncer", || in_path("pgbouncer"))?
                .display()
                .to_string(),
        };
        self.environment.push((PGBOUNCER, program));
        Ok(())
    }

    fn nats(&mut self) -> anyhow::Result<()> {
        if let Ok(url) = std::env::var(NATS_URL) {
            println!("xtask: NATS: from {NATS_URL}");
            self.environment.push((NATS_URL, url));
            return Ok(());
        }
        let port = free_port()?;
        if let Some(container) = container(port, 4222, &[], NATS_IMAGE, &[])? {
            println!("xtask: NATS: a container of {NATS_IMAGE} on port {port}");
            self.running.push(container);
        } else {
            let program = local("nats-server", "nats-server", || in_path("nats-server"))?;
            println!("xtask: NATS: local binary {} on port {port}", program.display());
            let mut server = unprivileged(&program);
            server.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
            server.stdout(Stdio::null()).stderr(self.log("nats")?);
            self.running.push(Running::Process(
                server.spawn().context("NATS cannot be started")?,
            ));
        }
        wait_for(port, "NATS", &self.log_file("nats"), is_nats_ready)?;
        self.environment
            .push((NATS_URL, format!("nats://127.0.0.1:{port}")));
        Ok(())
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn log(&self, name: &str) -> io::Result<fs::File> {
        fs::File::create(self.log_file(name))
    }

    /// Creates a folder for the data of a server. If this process is root, `nobody` owns it, as in
    /// [`unprivileged`].
    fn data_folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        if is_root() {
            crate::execute(Command::new("chown").arg("nobody").arg(&path))?;
        }
        Ok(path)
    }
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|o| o.stdout.starts_with(b"0\n"))
}

/// Returns a command that gets SIGINT when this process ends, and that runs as `nobody` if this
/// process is root, because PostgreSQL refuses to run as root. Without `setpriv` it does neither.
pub(crate) fn unprivileged(program: &Path) -> Command {
    if !crate::is_available("setpriv", "--version") {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    if is_root() {
        command
            .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
            .current_dir("/");
    }
    command.args(["--pdeathsig", "INT", "--"]).arg(program);
    command
}

/// Finds a program in `PATH`, or in the `sbin` folders, which the `PATH` of a user often lacks.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let system = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Finds a server program of PostgreSQL. Debian installs these outside `PATH`, in a folder for each
/// version; the last folder by name is taken.
pub(crate) fn postgres_bin(program: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(program)))
        .filter(|file| file.is_file())
        .collect();
    found.sort();
    found.pop().or_else(|| in_path(program))
}

/// Returns the path of a local program. If `find` does not find it, installs its Debian package,
/// which only root can do, and fails on other systems and for other users.
pub(crate) fn local(
    program: &str,
    package: &str,
    find: impl Fn() -> Option<PathBuf>,
) -> anyhow::Result<PathBuf> {
    if let Some(path) = find() {
        return Ok(path);
    }
    if !is_root() || !crate::is_available("apt-get", "--version") {
        bail!(
            "{program} is missing: install Debian's package {package} (servers and Python can also be given by \
             {POSTGRES_URL}, {NATS_URL} and {PYTHON})"
        );
    }
    println!("xtask: {program} is missing; installing Debian's package {package}");
    crate::execute(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends", package]);
    let denial = ServiceStartDenial::begin()?;
    let installed = crate::execute(install.env("DEBIAN_FRONTEND", "noninteractive"));
    drop(denial);
    installed?;
    find().with_context(|| format!("{program} is missing although {package} was installed"))
}

/// While this value lives, `apt-get` does not start the services of the packages that it installs,
/// which would listen on the standard ports. `None` if the machine has a `policy-rc.d` of its own,
/// which stays.
struct ServiceStartDenial(Option<&'static Path>);

impl ServiceStartDenial {
    fn begin() -> anyhow::Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Self(None));
        }
        // The exit code 101 forbids the requested action.
        fs::write(path, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for ServiceStartDenial {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Starts a container that publishes `container_port` as `port` of this machine. The options are
/// those of `docker run`, the arguments those of the program in the image. Returns `None` if Docker
/// is not available or cannot run the image.
fn container(
    port: u16,
    container_port: u16,
    options: &[&str],
    image: &str,
    arguments: &[&str],
) -> anyhow::Result<Option<Running>> {
    let engine = Command::new("docker")
        .arg("info")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !engine.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let mut command = Command::new("docker");
    command.args([
        "run",
        "--detach",
        "--rm",
        "--publish",
        &format!("127.0.0.1:{port}:{container_port}"),
    ]);
    let output = command.args(options).arg(image).args(arguments).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        println!("xtask: Docker cannot run {image}: {}", error.trim());
        return Ok(None);
    }
    Ok(Some(Running::Container(
        String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )))
}

/// Waits until the server at the port is ready. Fails after 60 seconds, with the file `log` if it
/// exists.
fn wait_for(
    port: u16,
    name: &str,
    log: &Path,
    is_ready: fn(&mut TcpStream) -> io::Result<bool>,
) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let ready = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            is_ready(&mut stream)
        });
        if ready.unwrap_or(false) {
            return Ok(());
        }
        if Instant::now() > end {
            let log = fs::read_to_string(log).unwrap_or_default();
            bail!("{name} is not ready on port {port} after 60 s\n{log}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether PostgreSQL accepts a login of `postgres`. During its start it accepts connections but refuses
/// logins.
fn is_postgres_ready(stream: &mut TcpStream) -> io::Result<bool> {
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).unwrap_or_default();
    // The startup message of protocol 3.0: its length, the version, and the parameters.
    stream.write_all(&[&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), parameters].concat())?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    // A request for authentication. An error would be `E`.
    Ok(kind == *b"R")
}

/// Whether NATS sends its greeting to a new client.
fn is_nats_ready(stream: &mut TcpStream) -> io::Result<bool> {
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting)?;
    Ok(greeting == *b"INFO")
}
