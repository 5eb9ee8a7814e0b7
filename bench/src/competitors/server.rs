//! Server processes of the competitors: ejabberd, Prosody and Synapse. Each case starts a new
//! process with a database and a folder of its own.
use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use parta_testkit::TestDatabase;
use sea_orm::ConnectionTrait as _;

use super::{
    Competitor,
    matrix::Client,
    xmpp::{self, ACCOUNTS, Member, PASSWORD},
};

/// The SQL schema of ejabberd, as Debian installs it.
const EJABBERD_TABLES: &str = "/usr/share/ejabberd/sql/pg.sql";
/// The libraries of Erlang, as Debian installs them.
const ERLANG_LIBRARIES: &str = "/usr/lib/erlang/lib";
/// The program of Synapse. `PATH` must have the `bin` folder of its virtual environment, which the
/// user `nobody` must be able to read.
const SYNAPSE: &str = "synapse_homeserver";
/// A server that accepts no connection within this time fails the case.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server of a competitor. Its process is killed when this value is dropped.
pub(super) struct Server {
    pub(super) competitor: Competitor,
    pub(super) address: SocketAddr,
    /// The ids of the processes whose CPU time is measured: the server and its PostgreSQL.
    pub(super) processes: Vec<u32>,
    child: Child,
    pub(super) database: TestDatabase,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors are ignored: the process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Values for the `@NAME@` placeholders in a competitor's configuration.
struct Placeholders<'a>(Vec<(&'static str, &'a str)>);

impl Placeholders<'_> {
    /// Returns the template with the value of each placeholder.
    fn fill(&self, template: &str) -> String {
        let fill = |text: String, (name, value): &(&str, &str)| text.replace(&format!("@{name}@"), value);
        self.0.iter().fold(template.to_owned(), fill)
    }
}

impl Server {
    /// Starts the server, creates all accounts and waits until it accepts connections.
    pub(super) async fn start(competitor: Competitor) -> anyhow::Result<Self> {
        let database = TestDatabase::postgres().await;
        let database_address = DatabaseAddress::of(database.url())?;
        let folder = tempfile::Builder::new().prefix("parta-competitor-").tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let port = free_port()?;
        let (listen, path) = (port.to_string(), folder.path().display().to_string());
        let placeholders = Placeholders(vec![
            ("HOST", &database_address.host),
            ("PORT", &database_address.port),
            ("USER", &database_address.user),
            ("PASSWORD", &database_address.password),
            ("DATABASE", &database_address.database),
            ("LISTEN", &listen),
            ("FOLDER", &path),
        ]);
        let child = match competitor {
            Competitor::Ejabberd => ejabberd(folder.path(), &placeholders, &database).await?,
            Competitor::Prosody => prosody(folder.path(), &placeholders)?,
            Competitor::Synapse => synapse(folder.path(), &placeholders)?,
        };
        let mut server = Self {
            competitor,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            processes: vec![child.id(), crate::test_env::postmaster(database.url()).await?],
            child,
            database,
            folder,
        };
        server.wait_until_ready().await?;
        if competitor == Competitor::Prosody {
            // Prosody creates its tables at their first use. A sign-in that fails is such a use.
            ensure!(Member::sign_in(server.address, "nobody").await.is_err());
            server
                .execute(&format!(
                    "INSERT INTO prosody (host, \"user\", store, key, type, value)
                     SELECT 'localhost', 'u' || n, 'accounts', 'password', 'string', '{PASSWORD}'
                     FROM generate_series(0, {ACCOUNTS}) n"
                ))
                .await?;
        }
        Ok(server)
    }

    /// Polls the address until the server accepts connections.
    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut interval = tokio::time::interval(Duration::from_millis(50));
        loop {
            interval.tick().await;
            let connected = async {
                if self.competitor.uses_xmpp() {
                    xmpp::connect(self.address).await.map(drop)
                } else {
                    Client::connect(self.address).await.map(drop)
                }
            };
            let Err(error) = tokio::time::timeout(START_TIMEOUT, connected).await? else {
                return Ok(());
            };
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended during its start: {status}\n{}",
                    self.competitor.name(),
                    self.log()
                );
            }
            ensure!(
                begin.elapsed() < START_TIMEOUT,
                "{} does not accept connections: {}\n{}",
                self.competitor.name(),
                parta_status::error_chain(&*error),
                self.log()
            );
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out.log")).unwrap_or_default()
    }

    pub(super) async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        execute(&self.database, sql).await
    }

    /// Returns the number of messages that the server has stored in its database.
    pub(super) async fn archived_messages(&self) -> anyhow::Result<usize> {
        let table = match self.competitor {
            Competitor::Ejabberd => "archive",
            Competitor::Prosody => "prosodyarchive",
            Competitor::Synapse => "events WHERE type = 'm.room.message'",
        };
        let count = format!("SELECT count(*)::text FROM {table}");
        Ok(crate::test_env::query_text(self.database.url(), &count)
            .await?
            .parse()?)
    }

    /// Inserts copies of one stored message of a room, each a second older than the copy before.
    /// Synapse is not supported.
    pub(super) async fn insert_messages(&self, room: &str, messages: usize) -> anyhow::Result<()> {
        let rows = format!("generate_series(1, {messages}) n");
        let sql = match self.competitor {
            // The column `timestamp` has microseconds since 1970, and ejabberd sorts the messages
            // by it.
            Competitor::Ejabberd => format!(
                "INSERT INTO archive (username, timestamp, peer, bare_peer, xml, txt, kind, nick)
                 SELECT a.username, a.timestamp - 1000000 * n::bigint, a.peer, a.bare_peer, a.xml, a.txt, a.kind, a.nick
                 FROM (SELECT * FROM archive WHERE username = '{room}' LIMIT 1) a, {rows};
                 VACUUM ANALYZE archive"
            ),
            Competitor::Prosody => format!(
                "INSERT INTO prosodyarchive (host, \"user\", store, key, \"when\", \"with\", type, value)
                 SELECT a.host, a.\"user\", a.store, gen_random_uuid()::text, a.\"when\" - n, a.\"with\", a.type, a.value
                 FROM (SELECT * FROM prosodyarchive WHERE \"user\" || '@' || host = '{room}' LIMIT 1) a, {rows};
                 VACUUM ANALYZE prosodyarchive"
            ),
            Competitor::Synapse => bail!("an event of Synapse is more than one row"),
        };
        for statement in sql.split(';') {
            self.execute(statement).await?;
        }
        Ok(())
    }
}

/// Returns a free port below those that the system assigns to outgoing connections (from 32,768 on
/// Linux), so that no connection takes it before the server listens.
fn free_port() -> anyhow::Result<u16> {
    let free = |port: &u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (15_222..16_000).find(free).context("no free port")
}

async fn execute(database: &TestDatabase, sql: &str) -> anyhow::Result<()> {
    let mut options = sea_orm::ConnectOptions::new(database.url());
    options.max_connections(1).sqlx_logging(false);
    let db = sea_orm::Database::connect(options).await?;
    db.execute_unprepared(sql).await?;
    Ok(db.close().await?)
}

async fn ejabberd(
    folder: &Path,
    placeholders: &Placeholders<'_>,
    database: &TestDatabase,
) -> anyhow::Result<Child> {
    execute(database, &std::fs::read_to_string(EJABBERD_TABLES)?).await?;
    let accounts = format!(
        "INSERT INTO users (username, password) SELECT 'u' || n, '{PASSWORD}' FROM generate_series(0, {ACCOUNTS}) n"
    );
    execute(database, &accounts).await?;
    let config = folder.join("ejabberd.yml");
    std::fs::write(
        &config,
        placeholders.fill(include_str!("../../competitors/ejabberd.yml")),
    )?;
    let mut command = unprivileged("erl", folder)?;
    // These are the arguments of ejabberd's own script without a node name, which would need the
    // daemon epmd.
    command
        .env("ERL_LIBS", library_folder())
        .env("ERL_CRASH_DUMP_SECONDS", "0")
        .env("EJABBERD_CONFIG_PATH", config)
        .env("EJABBERD_LOG_PATH", folder.join("data/ejabberd.log"))
        .args(["+P", "250000", "+Q", "65536", "-noinput", "-mnesia", "dir"])
        .arg(format!("\"{}\"", folder.join("data").display()))
        .args(["-s", "ejabberd"]);
    Ok(command.spawn()?)
}

fn prosody(folder: &Path, placeholders: &Placeholders<'_>) -> anyhow::Result<Child> {
    let config = folder.join("prosody.cfg.lua");
    std::fs::write(
        &config,
        placeholders.fill(include_str!("../../competitors/prosody.cfg.lua")),
    )?;
    let mut command = unprivileged("prosody", folder)?;
    command.args(["-F", "--config"]).arg(config);
    Ok(command.spawn()?)
}

fn synapse(folder: &Path, placeholders: &Placeholders<'_>) -> anyhow::Result<Child> {
    let config = folder.join("synapse.yaml");
    std::fs::write(
        &config,
        placeholders.fill(include_str!("../../competitors/synapse.yaml")),
    )?;
    let log = include_str!("../../competitors/synapse-log.yaml");
    std::fs::write(folder.join("synapse-log.yaml"), log)?;
    let command_with = |arguments: &[&str]| {
        let mut command = unprivileged(SYNAPSE, folder)?;
        command.arg("-c").arg(&config).args(arguments);
        anyhow::Ok(command)
    };
    // Synapse needs a signing key and does not create one when it starts.
    let generated = command_with(&["--generate-keys"])?.status()?;
    let log = std::fs::read_to_string(folder.join("out.log")).unwrap_or_default();
    ensure!(generated.success(), "synapse created no keys: {generated}\n{log}");
    Ok(command_with(&[])?.spawn()?)
}

/// Returns a command that is killed when this process ends, and that runs as `nobody` if this
/// process is root. It starts in the folder `data` of `folder`, which its user owns, and writes its
/// output to `out.log` of `folder`.
fn unprivileged(program: &str, folder: &Path) -> anyhow::Result<Command> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let mut command = Command::new("setpriv");
    if std::fs::metadata("/proc/self")?.uid() == 0 {
        let status = Command::new("chown").arg("nobody").arg(&data).status()?;
        ensure!(
            status.success(),
            "the owner of {} cannot be changed",
            data.display()
        );
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    let log = std::fs::File::create(folder.join("out.log"))?;
    command
        .args(["--pdeathsig", "KILL", "--", program])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &data)
        .current_dir(&data)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}

/// The parts of a database URL, for the configuration of a competitor.
struct DatabaseAddress {
    host: String,
    port: String,
    user: String,
    password: String,
    database: String,
}

impl DatabaseAddress {
    fn of(url: &str) -> anyhow::Result<Self> {
        let parts = || {
            let (_, rest) = url.split_once("://")?;
            let (rest, _) = rest.split_once('?').unwrap_or((rest, ""));
            let (login, rest) = rest.rsplit_once('@')?;
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let (server, database) = rest.split_once('/')?;
            let (host, port) = server.rsplit_once(':').unwrap_or((server, "5432"));
            let [host, port, user, password, database] =
                [host, port, user, password, database].map(str::to_owned);
            Some(Self {
                host,
                port,
                user,
                password,
                database,
            })
        };
        parts().with_context(|| format!("not the URL of a PostgreSQL database: {url}"))
    }
}

/// Fails with the packages to install if a competitor is not installed.
pub(super) fn check_installed(competitor: Competitor) -> anyhow::Result<()> {
    let in_path = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    let (is_installed, packages) = match competitor {
        Competitor::Ejabberd => (
            in_path("erl") && Path::new(EJABBERD_TABLES).is_file() && has_erlang_driver(),
            "ejabberd and erlang-p1-pgsql from Debian",
        ),
        Competitor::Prosody => (
            in_path("prosody") && library_folder().join("lua/5.4/dbd/postgresql.so").is_file(),
            "prosody and lua-dbi-postgresql from Debian",
        ),
        Competitor::Synapse => (in_path(SYNAPSE), "matrix-synapse and psycopg2-binary from PyPI"),
    };
    ensure!(
        is_installed,
        "{} is not installed: install {packages}",
        competitor.name()
    );
    Ok(())
}

/// Returns Debian's folder of libraries for this architecture, which also contains the programs of ejabberd.
fn library_folder() -> PathBuf {
    PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}

/// Whether Erlang has a PostgreSQL driver.
fn has_erlang_driver() -> bool {
    let entries = std::fs::read_dir(ERLANG_LIBRARIES)
        .into_iter()
        .flatten()
        .flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.any(|name| name.starts_with("p1_pgsql"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn database_url_is_split_into_its_parts() {
        let address = DatabaseAddress::of("postgres://postgres:a:b@127.0.0.1:5433/test_1?x=y").unwrap();
        assert_eq!(
            (address.host.as_str(), address.port.as_str()),
            ("127.0.0.1", "5433")
        );
        assert_eq!(
            (address.user.as_str(), address.password.as_str()),
            ("postgres", "a:b")
        );
        assert_eq!(address.database, "test_1");
        assert!(DatabaseAddress::of("sqlite://here.db").is_err());
    }

    #[test]
    fn configurations_have_only_known_placeholders() {
        let names = ["HOST", "PORT", "USER", "PASSWORD", "DATABASE", "LISTEN", "FOLDER"];
        let placeholders = Placeholders(names.map(|name| (name, "1")).to_vec());
        for template in [
            include_str!("../../competitors/ejabberd.yml"),
            include_str!("../../competitors/prosody.cfg.lua"),
            include_str!("../../competitors/synapse.yaml"),
        ] {
            let filled = placeholders.fill(template).replace("@NAME@", "");
            assert!(!filled.contains('@'), "{filled}");
        }
    }
}
