//! The baselines: the same client with a server that does nothing, the same RPC through all layers without a
//! database, and the database without a server.
use std::{
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Parser as _;
use futures::{Stream, StreamExt as _, future::BoxFuture, stream};
use parta_access::Caller;
use parta_integration_tests::Process;
use parta_proto_chat::v1::{
    self as pb,
    live_service_server::{LiveService, LiveServiceServer},
    message_service_server::{MessageService, MessageServiceServer},
    subscribe_chats_response::Item,
};
use parta_runtime::{Service, ServiceContext, ServiceParts};
use parta_status::{RpcError, not_found};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::broadcast,
};
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tonic::{Request, Response, Status};

use crate::{measure::Numbers, test_env::TestEnv};

/// A chat server without storage: responds immediately and forwards each message to every open stream.
#[derive(Clone)]
struct Echo {
    /// Whether calls need a caller that an earlier layer has authenticated.
    authenticated: bool,
    entries: broadcast::Sender<pb::Entry>,
}

impl Echo {
    fn new(authenticated: bool) -> Self {
        let (entries, _) = broadcast::channel(4096);
        Self {
            authenticated,
            entries,
        }
    }

    fn check_caller<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if self.authenticated {
            Caller::of(request)?;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl MessageService for Echo {
    async fn send_message(
        &self,
        request: Request<pb::SendMessageRequest>,
    ) -> Result<Response<pb::SendMessageResponse>, Status> {
        self.check_caller(&request)?;
        let request = request.into_inner();
        let entry_id = "ent_01h455vb4pex5vsknk084sn02q".to_owned();
        let content = pb::entry::Content::Message(pb::Message {
            sender_id: "mbr_01h455vb4pex5vsknk084sn02q".to_owned(),
            text: request.text,
            ..pb::Message::default()
        });
        // Sending fails if no stream is open.
        _ = self.entries.send(pb::Entry {
            id: entry_id.clone(),
            chat_id: request.chat_id,
            content: Some(content),
            ..pb::Entry::default()
        });
        Ok(Response::new(pb::SendMessageResponse {
            entry_id,
            ..pb::SendMessageResponse::default()
        }))
    }

    async fn list_entries(
        &self,
        _: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        Err(not_found("page", "not implemented by this baseline").into())
    }

    async fn batch_get_authors(
        &self,
        _: Request<pb::BatchGetAuthorsRequest>,
    ) -> Result<Response<pb::BatchGetAuthorsResponse>, Status> {
        Err(not_found("chat", "not implemented by this baseline").into())
    }

    async fn mark_read(
        &self,
        _: Request<pb::MarkReadRequest>,
    ) -> Result<Response<pb::MarkReadResponse>, Status> {
        Err(not_found("chat", "not implemented by this baseline").into())
    }
}

#[tonic::async_trait]
impl LiveService for Echo {
    type SubscribeChatsStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<pb::SubscribeChatsResponse, Status>> + Send>>;

    async fn subscribe_chats(
        &self,
        _: Request<pb::SubscribeChatsRequest>,
    ) -> Result<Response<Self::SubscribeChatsStream>, Status> {
        let item = |item| pb::SubscribeChatsResponse { item: Some(item) };
        let started = item(Item::Started(pb::SubscriptionStarted::default()));
        let entries = BroadcastStream::new(self.entries.subscribe()).map(move |entry| match entry {
            Ok(entry) => Ok(item(Item::Entry(entry))),
            Err(lag) => Err(RpcError::internal(lag).into()),
        });
        Ok(Response::new(Box::pin(
            stream::once(async { Ok(started) }).chain(entries),
        )))
    }
}

/// Runs the echo process.
#[expect(clippy::print_stdout, reason = "prints the address for the parent process")]
pub(crate) async fn echo() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    let echo = Echo::new(false);
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(MessageServiceServer::new(echo.clone()))
        .add_service(LiveServiceServer::new(echo))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

const SERVICE: &str = "parta.chat.v1.MessageService";

/// Runs the bare server with the arguments `serve` or `migrate`.
pub(crate) fn bare(arguments: Vec<OsString>) -> ExitCode {
    let BareArguments { task, config } = BareArguments::parse_from(arguments);
    parta_runtime::run(async move {
        match task {
            BareTask::Serve => parta_runtime::serve_standalone(BARE, config).await,
            BareTask::Migrate => parta_runtime::migrate_standalone(BARE, config).await,
        }
    })
}

#[derive(clap::Parser)]
struct BareArguments {
    #[arg(value_enum)]
    task: BareTask,
    #[command(flatten)]
    config: parta_runtime::ConfigArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum BareTask {
    Serve,
    Migrate,
}

/// A chat service behind the same layers as the real one, without storage.
const BARE: Service = Service {
    name: "chat",
    package: &parta_proto_chat::PACKAGE,
    calls: &[],
    grpc_services: &[SERVICE],
    config: parta_runtime::config::check::<parta_chat::Config>,
    build,
    migrations: parta_database::migrations,
};

fn build(_: ServiceContext) -> BoxFuture<'static, anyhow::Result<ServiceParts>> {
    Box::pin(async {
        Ok(ServiceParts {
            name: "chat",
            routes: parta_grpc::Routes::new(MessageServiceServer::new(Echo::new(true))),
            services: vec![SERVICE],
            consumers: Vec::new(),
            tasks: Vec::new(),
        })
    })
}

/// A running baseline process. It is killed when this value is dropped.
pub(crate) struct EchoProcess {
    child: Child,
    pub(crate) address: String,
}

impl EchoProcess {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_as("echo").await
    }

    /// Starts this program with a subcommand that prints its address first.
    pub(crate) async fn start_as(subcommand: &str) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(subcommand)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let address = lines
            .next_line()
            .await?
            .context("the baseline process did not start")?;
        Ok(Self {
            child,
            address: format!("http://{address}"),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}

/// A running chat service without a database. It accepts the tokens of the test environment.
pub(crate) struct BareProcess {
    process: Process,
    _folder: tempfile::TempDir,
    pub(crate) address: String,
}

impl BareProcess {
    pub(crate) async fn start(test_env: &TestEnv) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .port();
        let listen = format!("127.0.0.1:{port}");
        let settings: Vec<(String, String)> = [
            ("PARTA__CHAT__LISTEN", listen.clone()),
            (
                "PARTA__CHAT__DATABASE_URL",
                format!("sqlite://{}", folder.path().join("bare.db").display()),
            ),
            ("PARTA__KEYS__FOLDER", test_env.suite.keys().display().to_string()),
            ("PARTA__MEMBERSHIP__ADDRESS", test_env.address.clone()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .to_vec();
        let program = std::env::current_exe()?.display().to_string();
        let pairs = || settings.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        Process::start(&program, &["bare", "migrate"], pairs())
            .finished()
            .await;
        let mut process = Process::start(&program, &["bare", "serve"], pairs());
        process.serving().await;
        Ok(Self {
            process,
            _folder: folder,
            address: format!("http://{listen}"),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }
}

/// Runs pgbench with `rows` inserted rows per transaction. The rows have the columns and keys of an entry.
pub(crate) async fn pgbench(
    url: &str,
    clients: usize,
    rows: usize,
    duration: Duration,
) -> anyhow::Result<Numbers> {
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("insert.sql");
    let db = sea_orm::Database::connect(url).await?;
    sea_orm::ConnectionTrait::execute_unprepared(
        &db,
        "CREATE TABLE IF NOT EXISTS bench_entry (chat bigint, seq bigint GENERATED ALWAYS AS IDENTITY, id uuid,
           request uuid UNIQUE, body text, time timestamptz, PRIMARY KEY (chat, seq))",
    )
    .await?;
    db.close().await?;
    std::fs::write(
        &script,
        format!(
            "INSERT INTO bench_entry (chat, id, request, body, time)
             SELECT :client_id, gen_random_uuid(), gen_random_uuid(), repeat('abcdefghij', 20), now()
             FROM generate_series(1, {rows})"
        ),
    )?;
    let output = Command::new(find_in_path("pgbench")?)
        .args(["-n", "-M", "prepared", "-f"])
        .arg(&script)
        .args(["-c", &clients.to_string(), "-j", "2", "-T"])
        .arg(duration.as_secs().max(1).to_string())
        .arg(url.replacen("postgres://", "postgresql://", 1))
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let find = |label: &str| {
        let line = text.lines().find(|line| line.starts_with(label))?;
        line.split_whitespace()
            .find_map(|field| field.parse::<f64>().ok())
    };
    let (Some(tps), Some(latency)) = (find("tps = "), find("latency average = ")) else {
        bail!(
            "unexpected output of pgbench: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rows = rows as f64;
    Ok(Numbers::from([("rate", tps * rows), ("mean_ms", latency)]))
}

fn find_in_path(name: &str) -> anyhow::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .map(|f| f.join(name))
        .find(|f| f.is_file());
    found.with_context(|| format!("{name} is not installed"))
}

/// Inserts 64 rows per transaction into SQLite with the settings of Parta, without a server.
pub(crate) async fn sqlite_rows(duration: Duration) -> anyhow::Result<Numbers> {
    use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
    let folder = tempfile::tempdir()?;
    let mut options = sea_orm::ConnectOptions::new(format!(
        "sqlite://{}?mode=rwc",
        folder.path().join("raw.db").display()
    ));
    options.max_connections(1);
    let db = sea_orm::Database::connect(options).await?;
    for sql in [
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE entry (chat blob NOT NULL, seq bigint NOT NULL, id blob, request blob UNIQUE, body text,
           time text, PRIMARY KEY (chat, seq)) WITHOUT ROWID",
    ] {
        db.execute_unprepared(sql).await?;
    }
    let begin = std::time::Instant::now();
    let mut rows = 0_u32;
    while begin.elapsed() < duration {
        let tx = db.begin().await?;
        let sql = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64)
             INSERT INTO entry SELECT randomblob(16), {rows} + i, randomblob(16), randomblob(16),
               printf('%.200c', 'x'), '2026-01-01T00:00:00.000000Z' FROM n"
        );
        tx.execute_unprepared(&sql).await?;
        tx.commit().await?;
        rows += 64;
    }
    let seconds = begin.elapsed().as_secs_f64();
    db.close().await?;
    Ok(Numbers::from([("rate", f64::from(rows) / seconds)]))
}
