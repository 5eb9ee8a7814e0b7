//! A peer's server: installed by its package, started for a case with a database and a folder of its own,
//! ended with it.
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
    Peer,
    matrix::Client,
    xmpp::{self, Member, PASSWORD, PEOPLE},
};

/// Where Debian's packages keep the tables of ejabberd's databases, and Erlang's libraries.
const EJABBERD_TABLES: &str = "/usr/share/ejabberd/sql/pg.sql";
const ERLANG_LIBRARIES: &str = "/usr/lib/erlang/lib";
/// The program of Synapse in its virtual environment, which has to be in the path and readable to `nobody`.
const SYNAPSE: &str = "synapse_homeserver";
/// A start that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running peer.
pub(super) struct Server {
    pub(super) peer: Peer,
    pub(super) address: SocketAddr,
    /// The processes that work for it: its own, and PostgreSQL.
    pub(super) processes: Vec<u32>,
    child: Child,
    pub(super) database: TestDatabase,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to lose; one that has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The words between @ in a peer's configuration.
struct Blanks<'a>(Vec<(&'static str, &'a str)>);

impl Blanks<'_> {
    fn fill(&self, template: &str) -> String {
        let fill = |text: String, (word, value): &(&str, &str)| text.replace(&format!("@{word}@"), value);
        self.0.iter().fold(template.to_owned(), fill)
    }
}

impl Server {
    /// Starts it with accounts for everybody and waits until it serves.
    pub(super) async fn start(peer: Peer) -> anyhow::Result<Self> {
        let database = TestDatabase::postgres().await;
        let place = Place::of(database.url())?;
        let folder = tempfile::Builder::new().prefix("parta-peer-").tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let port = free_port()?;
        let (listen, path) = (port.to_string(), folder.path().display().to_string());
        let blanks = Blanks(vec![
            ("HOST", &place.host),
            ("PORT", &place.port),
            ("USER", &place.user),
            ("PASSWORD", &place.password),
            ("DATABASE", &place.database),
            ("LISTEN", &listen),
            ("FOLDER", &path),
        ]);
        let child = match peer {
            Peer::Ejabberd => ejabberd(folder.path(), &blanks, &database).await?,
            Peer::Prosody => prosody(folder.path(), &blanks)?,
            Peer::Synapse => synapse(folder.path(), &blanks)?,
        };
        let mut server = Self {
            peer,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            processes: vec![child.id(), crate::test_env::postmaster(database.url()).await?],
            child,
            database,
            folder,
        };
        server.serving().await?;
        if peer == Peer::Prosody {
            // It makes its tables when it first needs them.
            ensure!(Member::enter(server.address, "nobody").await.is_err());
            server
                .execute(&format!(
                    "INSERT INTO prosody (host, \"user\", store, key, type, value)
                     SELECT 'localhost', 'u' || n, 'accounts', 'password', 'string', '{PASSWORD}'
                     FROM generate_series(0, {PEOPLE}) n"
                ))
                .await?;
        }
        Ok(server)
    }

    /// Its address answers; asked again and again, because a peer does not say when it serves.
    async fn serving(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut again = tokio::time::interval(Duration::from_millis(50));
        loop {
            again.tick().await;
            let answer = async {
                if self.peer.speaks_xmpp() {
                    xmpp::connect(self.address).await.map(drop)
                } else {
                    Client::connect(self.address).await.map(drop)
                }
            };
            let Err(error) = tokio::time::timeout(PATIENCE, answer).await? else {
                return Ok(());
            };
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended while it started: {status}\n{}",
                    self.peer.name(),
                    self.log()
                );
            }
            let patient = begin.elapsed() < PATIENCE;
            ensure!(
                patient,
                "{} does not serve: {error:#}\n{}",
                self.peer.name(),
                self.log()
            );
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out.log")).unwrap_or_default()
    }

    /// Runs SQL in its database.
    pub(super) async fn execute(&self, sql: &str) -> anyhow::Result<()> {
        execute(&self.database, sql).await
    }

    /// How many messages its archive has.
    pub(super) async fn archived(&self) -> anyhow::Result<usize> {
        let table = match self.peer {
            Peer::Ejabberd => "archive",
            Peer::Prosody => "prosodyarchive",
            Peer::Synapse => "events WHERE type = 'm.room.message'",
        };
        let count = format!("SELECT count(*)::text FROM {table}");
        Ok(crate::test_env::ask(self.database.url(), &count).await?.parse()?)
    }

    /// Writes so many messages into a room's archive by SQL, each like the one that is there.
    pub(super) async fn fill(&self, room: &str, messages: usize) -> anyhow::Result<()> {
        let rows = format!("generate_series(1, {messages}) n");
        let sql = match self.peer {
            // Its ids are microseconds since 1970, and rooms are searched by them.
            Peer::Ejabberd => format!(
                "INSERT INTO archive (username, timestamp, peer, bare_peer, xml, txt, kind, nick)
                 SELECT a.username, a.timestamp - 1000000 * n::bigint, a.peer, a.bare_peer, a.xml, a.txt, a.kind, a.nick
                 FROM (SELECT * FROM archive WHERE username = '{room}' LIMIT 1) a, {rows};
                 VACUUM ANALYZE archive"
            ),
            Peer::Prosody => format!(
                "INSERT INTO prosodyarchive (host, \"user\", store, key, \"when\", \"with\", type, value)
                 SELECT a.host, a.\"user\", a.store, gen_random_uuid()::text, a.\"when\" - n, a.\"with\", a.type, a.value
                 FROM (SELECT * FROM prosodyarchive WHERE \"user\" || '@' || host = '{room}' LIMIT 1) a, {rows};
                 VACUUM ANALYZE prosodyarchive"
            ),
            Peer::Synapse => bail!("what Synapse keeps of an event is more than a row"),
        };
        for statement in sql.split(';') {
            self.execute(statement).await?;
        }
        Ok(())
    }
}

/// A port that nobody listens on, and that no client is given while the peer makes up its mind to listen
/// there.
fn free_port() -> anyhow::Result<u16> {
    let free = |port: &u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (15_222..16_000).find(free).context("a free port")
}

async fn execute(database: &TestDatabase, sql: &str) -> anyhow::Result<()> {
    let mut options = sea_orm::ConnectOptions::new(database.url());
    options.max_connections(1).sqlx_logging(false);
    let db = sea_orm::Database::connect(options).await?;
    db.execute_unprepared(sql).await?;
    Ok(db.close().await?)
}

async fn ejabberd(folder: &Path, blanks: &Blanks<'_>, database: &TestDatabase) -> anyhow::Result<Child> {
    execute(database, &std::fs::read_to_string(EJABBERD_TABLES)?).await?;
    let accounts = format!(
        "INSERT INTO users (username, password) SELECT 'u' || n, '{PASSWORD}' FROM generate_series(0, {PEOPLE}) n"
    );
    execute(database, &accounts).await?;
    let config = folder.join("ejabberd.yml");
    std::fs::write(
        &config,
        blanks.fill(include_str!("../../competitors/ejabberd.yml")),
    )?;
    let mut command = unprivileged("erl", folder)?;
    // Started like its own script does, but without a name: a node without one needs no port mapper.
    command
        .env("ERL_LIBS", libraries())
        .env("ERL_CRASH_DUMP_SECONDS", "0")
        .env("EJABBERD_CONFIG_PATH", config)
        .env("EJABBERD_LOG_PATH", folder.join("data/ejabberd.log"))
        .args(["+P", "250000", "+Q", "65536", "-noinput", "-mnesia", "dir"])
        .arg(format!("\"{}\"", folder.join("data").display()))
        .args(["-s", "ejabberd"]);
    Ok(command.spawn()?)
}

fn prosody(folder: &Path, blanks: &Blanks<'_>) -> anyhow::Result<Child> {
    let config = folder.join("prosody.cfg.lua");
    std::fs::write(
        &config,
        blanks.fill(include_str!("../../competitors/prosody.cfg.lua")),
    )?;
    let mut command = unprivileged("prosody", folder)?;
    command.args(["-F", "--config"]).arg(config);
    Ok(command.spawn()?)
}

fn synapse(folder: &Path, blanks: &Blanks<'_>) -> anyhow::Result<Child> {
    let config = folder.join("synapse.yaml");
    std::fs::write(
        &config,
        blanks.fill(include_str!("../../competitors/synapse.yaml")),
    )?;
    let log = include_str!("../../competitors/synapse-log.yaml");
    std::fs::write(folder.join("synapse-log.yaml"), log)?;
    let with = |words: &[&str]| {
        let mut command = unprivileged(SYNAPSE, folder)?;
        command.arg("-c").arg(&config).args(words);
        anyhow::Ok(command)
    };
    // The key that it signs its events with is its own affair, but it makes none by itself.
    let made = with(&["--generate-keys"])?.status()?;
    let log = std::fs::read_to_string(folder.join("out.log")).unwrap_or_default();
    ensure!(made.success(), "synapse made no keys: {made}\n{log}");
    Ok(with(&[])?.spawn()?)
}

/// A program that ends with this process, however that ends, and that root runs as `nobody`; `data` in the
/// folder is its own.
fn unprivileged(program: &str, folder: &Path) -> anyhow::Result<Command> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let mut command = Command::new("setpriv");
    if std::fs::metadata("/proc/self")?.uid() == 0 {
        let status = Command::new("chown").arg("nobody").arg(&data).status()?;
        ensure!(status.success(), "{} cannot be given away", data.display());
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

/// The address of a database, as a peer's configuration names it.
struct Place {
    host: String,
    port: String,
    user: String,
    password: String,
    database: String,
}

impl Place {
    fn of(url: &str) -> anyhow::Result<Self> {
        let parts = || {
            let (_, rest) = url.split_once("://")?;
            let (rest, _) = rest.split_once('?').unwrap_or((rest, ""));
            let (who, rest) = rest.rsplit_once('@')?;
            let (user, password) = who.split_once(':').unwrap_or((who, ""));
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
        parts().with_context(|| format!("no place of a database: {url}"))
    }
}

/// Fails, and says what to install, where a peer is missing.
pub(super) fn installed(peer: Peer) -> anyhow::Result<()> {
    let in_path = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    let (there, packages) = match peer {
        Peer::Ejabberd => (
            in_path("erl") && Path::new(EJABBERD_TABLES).is_file() && driver_of_erlang(),
            "of Debian ejabberd and erlang-p1-pgsql",
        ),
        Peer::Prosody => (
            in_path("prosody") && libraries().join("lua/5.4/dbd/postgresql.so").is_file(),
            "of Debian prosody and lua-dbi-postgresql",
        ),
        Peer::Synapse => (in_path(SYNAPSE), "of PyPI matrix-synapse and psycopg2-binary"),
    };
    ensure!(
        there,
        "{} is not installed: install the packages {packages}",
        peer.name()
    );
    Ok(())
}

/// Where Debian keeps libraries of this kind of machine, ejabberd's programs among them.
fn libraries() -> PathBuf {
    PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}

/// Whether Erlang has a driver of PostgreSQL.
fn driver_of_erlang() -> bool {
    let libraries = std::fs::read_dir(ERLANG_LIBRARIES)
        .into_iter()
        .flatten()
        .flatten();
    let mut names = libraries.filter_map(|entry| entry.file_name().into_string().ok());
    names.any(|name| name.starts_with("p1_pgsql"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_found_by_its_url() {
        let place = Place::of("postgres://postgres:a:b@127.0.0.1:5433/test_1?x=y").unwrap();
        assert_eq!((place.host.as_str(), place.port.as_str()), ("127.0.0.1", "5433"));
        assert_eq!(
            (place.user.as_str(), place.password.as_str()),
            ("postgres", "a:b")
        );
        assert_eq!(place.database, "test_1");
        assert!(Place::of("sqlite://here.db").is_err());
    }

    #[test]
    fn a_configuration_has_no_blank_left() {
        let words = ["HOST", "PORT", "USER", "PASSWORD", "DATABASE", "LISTEN", "FOLDER"];
        let blanks = Blanks(words.map(|word| (word, "1")).to_vec());
        for template in [
            include_str!("../../competitors/ejabberd.yml"),
            include_str!("../../competitors/prosody.cfg.lua"),
            include_str!("../../competitors/synapse.yaml"),
        ] {
            let filled = blanks.fill(template).replace("between @", "");
            assert!(!filled.contains('@'), "{filled}");
        }
    }
}
