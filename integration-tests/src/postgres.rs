use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use parta_testkit::{Link, TestDatabase, eventually};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr};
use tokio::{
    process::{Child, Command},
    sync::Mutex,
};

use crate::suite::free_ports_from;

/// Environment variable with the folder of the PostgreSQL programs, if the tests run local servers.
const BIN: &str = "PARTA_TEST_POSTGRES_BIN";
/// Time limit for the end of the server.
const PATIENCE: Duration = Duration::from_secs(60);

/// A PostgreSQL server that a test can crash without an effect on other tests.
pub struct Postgres {
    url: String,
    kind: Kind,
}

enum Kind {
    /// The test's own server.
    Own {
        bin: PathBuf,
        port: u16,
        folder: tempfile::TempDir,
        server: Box<Mutex<Option<Child>>>,
    },
    /// A database on the shared server, behind a connection that the test can cut.
    Shared { database: TestDatabase, link: Link },
}

impl Postgres {
    /// Starts the test's own server if the folder of the PostgreSQL programs is set. Otherwise creates a
    /// database on the shared server.
    pub async fn start() -> Self {
        let Some(bin) = std::env::var_os(BIN).map(PathBuf::from) else {
            let database = TestDatabase::postgres().await;
            let link = Link::to(database.url()).await;
            return Self {
                url: link.through(database.url()),
                kind: Kind::Shared { database, link },
            };
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The server runs as an unprivileged user, who must be able to enter its folder.
        open_to(folder.path(), 0o755);
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        open_to(&data, 0o700);
        if is_root().await {
            run(Command::new("chown").arg("nobody").arg(&data)).await;
        }
        let mut init = unprivileged(&bin.join("initdb")).await;
        init.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]);
        // The initial data need not survive a crash of the machine. Later writes are flushed as in
        // production.
        run(init.args(["--no-sync", "-D"]).arg(&data)).await;
        // Skip the ports that the suite has been assigned, because nothing listens on them yet.
        let port = free_ports_from(8, 1)[0];
        let server = serve(&bin, &data, port).await;
        let own = Self {
            url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            kind: Kind::Own {
                bin,
                port,
                folder,
                server: Box::new(Mutex::new(Some(server))),
            },
        };
        eventually("PostgreSQL takes connections", async || {
            connect(&own.url).await.ok()
        })
        .await;
        own
    }

    /// Returns the database URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Describes the effect of [`Postgres::crash`].
    pub fn way_to_crash(&self) -> &'static str {
        match self.kind {
            Kind::Own { .. } => "PostgreSQL of the test's own is ended at once and recovers",
            Kind::Shared { .. } => "PostgreSQL is shared: its connections are cut and their backends ended",
        }
    }

    /// Crashes the server without a shutdown and starts it again. Returns once it accepts connections.
    pub async fn crash(&self) {
        match &self.kind {
            Kind::Own {
                bin,
                port,
                folder,
                server,
            } => {
                let mut server = server.lock().await;
                end(server.take().expect("it runs"), "-QUIT").await;
                *server = Some(serve(bin, &folder.path().join("data"), *port).await);
            }
            Kind::Shared { database, link } => {
                link.disconnect().await;
                let ended = async {
                    let connection = connect(database.url()).await?;
                    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                               WHERE datname = current_database() AND pid <> pg_backend_pid()";
                    connection.execute_unprepared(sql).await
                };
                ended.await.expect("its backends can be ended");
                link.reconnect();
            }
        }
    }

    /// Returns a command of a program of PostgreSQL that connects to this server; `None` if the server is
    /// shared with other tests.
    pub fn command(&self, program: &str) -> Option<Command> {
        let Kind::Own { bin, port, .. } = &self.kind else {
            return None;
        };
        let mut command = Command::new(bin.join(program));
        command.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string());
        command.env("PGUSER", "postgres").kill_on_drop(true);
        Some(command)
    }

    /// Returns a folder for a restored copy, which does not exist yet. Panics on a shared server.
    pub fn restored_folder(&self) -> PathBuf {
        let Kind::Own { folder, .. } = &self.kind else {
            panic!("other tests use the server");
        };
        folder.path().join("restored")
    }

    /// Stops the server in order, and starts the one of [`Postgres::restored_folder`] on the same port.
    /// Returns once it accepts connections. Panics on a shared server.
    pub async fn start_restored(&self) {
        let Kind::Own {
            bin,
            port,
            folder,
            server,
        } = &self.kind
        else {
            panic!("other tests use the server");
        };
        let mut server = server.lock().await;
        end(server.take().expect("it runs"), "-INT").await;
        let data = folder.path().join("data");
        fs::rename(&data, folder.path().join("replaced")).expect("the server has ended");
        fs::rename(self.restored_folder(), &data).expect("a restored folder");
        if is_root().await {
            run(Command::new("chown").args(["--recursive", "nobody"]).arg(&data)).await;
        }
        *server = Some(serve(bin, &data, *port).await);
        eventually("the restored server takes connections", async || {
            connect(&self.url).await.ok()
        })
        .await;
    }

    /// Stops the server in order.
    pub async fn stop(self) {
        if let Kind::Own { server, .. } = self.kind
            && let Some(server) = (*server).into_inner()
        {
            // Mode `fast` disconnects all clients.
            end(server, "-INT").await;
        }
    }
}

async fn connect(url: &str) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await
}

async fn serve(bin: &Path, data: &Path, port: u16) -> Child {
    let mut server = unprivileged(&bin.join("postgres")).await;
    server.arg("-D").arg(data).args(["-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "log_min_messages=fatal",
    ] {
        server.args(["-c", setting]);
    }
    server.stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().expect("PostgreSQL can be started")
}

async fn end(mut server: Child, signal: &str) {
    let id = server.id().expect("it runs").to_string();
    run(Command::new("kill").args([signal, &id])).await;
    let ended = tokio::time::timeout(PATIENCE, server.wait()).await;
    assert!(ended.is_ok_and(|e| e.is_ok()), "PostgreSQL does not end");
}

/// A command that is killed with this process. Root runs it as `nobody`, because PostgreSQL refuses to run as
/// root.
async fn unprivileged(program: &Path) -> Command {
    let mut command = if is_root().await {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        command.args(["--pdeathsig", "INT", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").kill_on_drop(true);
    command
}

async fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().await;
    id.is_ok_and(|id| id.stdout.starts_with(b"0\n"))
}

async fn run(command: &mut Command) {
    let output = command.output().await.expect("the command can be started");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
}

fn open_to(folder: &Path, mode: u32) {
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).expect("the folder is ours");
}
