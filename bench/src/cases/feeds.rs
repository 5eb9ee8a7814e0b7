//! The cases of the feeds: schools that import beside another one, the price of an event, and a service that
//! begins from nothing.
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use parta_access::Secrets;
use parta_database::{DatabaseConfig, Db, StorageError};
use parta_feed::append_event;
use parta_ids::{Env, MemberId, OrgId, TypedId as _};
use parta_integration_tests::{School, peak_kib, write_roster};
use parta_proto_membership::v1::{MemberAdmitted, membership_event::Payload};
use parta_testkit::TestDatabase;
use sea_orm::{ConnectionTrait, Statement, Value};
use serde_json::json;

use crate::{
    Options,
    load::{Load, Work, closed_loop},
    measure::{Machine, Measured, Numbers, Variant, run_rounds},
    test_env::{TestEnv, postmaster, query_text},
};

/// Schools that import at the same time.
const SCHOOLS: usize = 30;
/// Organizations in which members change at the same time.
const ORGANIZATIONS: usize = 32;

/// A school sends a message every 100 ms, with no other load or while others import their rosters.
pub(super) async fn neighbors(options: Options) -> anyhow::Result<Measured> {
    let test_env = TestEnv::open(&options, &[]).await?;
    let folder = tempfile::tempdir()?;
    write_roster(folder.path(), options.people);
    let (env, options, folder) = (&test_env, &options, &folder);
    let mut variants = [
        Variant::new("quiet", move || async move {
            let (numbers, ()) = send_beside(env, tokio::time::sleep(options.duration())).await?;
            Ok(numbers)
        }),
        Variant::new("importing", move || async move {
            let mut schools = Vec::with_capacity(SCHOOLS);
            // A client of its own: a call presents the consistency tokens of all organizations that its
            // client has seen, and those of the imports must not delay the messages.
            let suite = env.suite.on_its_own();
            for n in 0..SCHOOLS {
                schools.push(suite.school(&format!("Школа № {}", n + 2)).await);
            }
            let begin = Instant::now();
            let imports = schools
                .iter()
                .map(|school| import(school, options, folder.path()));
            let (mut numbers, lags) = send_beside(env, try_join_all(imports)).await?;
            numbers.insert("import_seconds", begin.elapsed().as_secs_f64());
            numbers.insert("lag_seconds", lags?.into_iter().fold(0.0, f64::max));
            Ok(numbers)
        }),
    ];
    let measured = run_rounds(options, folder.path(), &env.machine, &mut variants).await?;
    drop(variants);
    test_env.close().await;
    Ok(measured)
}

/// Imports the roster, and returns the seconds after which chat shows all of it.
async fn import(school: &School, options: &Options, folder: &std::path::Path) -> anyhow::Result<f64> {
    let program = options.program.display().to_string();
    let (code, document) = school.import(&program, folder, &["--yes"]).await;
    ensure!(code == 0, "the import failed: {document:#}");
    caught_up(school).await
}

/// Returns the seconds that chat takes to show the roster as it is now: the token of the administrator names
/// the last event.
pub(super) async fn caught_up(school: &School) -> anyhow::Result<f64> {
    const LONGEST: Duration = Duration::from_secs(120);
    let account = school.administrator.account.prolonged().await;
    let begin = Instant::now();
    let administrator = account.enter(&school.org_id).await;
    loop {
        let list = administrator
            .client
            .call("ChatService/ListChats", json!({"page_size": 1}))
            .await;
        match list {
            Ok(_) => return Ok(begin.elapsed().as_secs_f64()),
            // The client has repeated the call for three seconds.
            Err(status) if status.code() == tonic::Code::Unavailable => {
                ensure!(begin.elapsed() < LONGEST, "chat does not catch up: {status}");
            }
            Err(status) => return Err(status.into()),
        }
    }
}

/// Sends a message of the first school every 100 ms until `until` completes. A refused message is counted and
/// not repeated.
async fn send_beside<T>(env: &TestEnv, until: impl Future<Output = T>) -> anyhow::Result<(Numbers, T)> {
    /// Tokens are valid for ten minutes.
    const RENEWED: Duration = Duration::from_secs(300);
    let channel = env.channel().await?;
    let method = parta_testkit::dynamic::method("parta.chat.v1.MessageService/SendMessage");
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let account = &env.school.administrator.account;
    let (mut client, mut renewed) = (account.enter(&env.school.org_id).await.client, Instant::now());
    let (mut times, mut refused, begin) = (Vec::new(), 0_u32, Instant::now());
    tokio::pin!(until);
    let done = loop {
        tokio::select! {
            done = &mut until => break done,
            _ = tick.tick() => {}
        }
        if renewed.elapsed() > RENEWED {
            let account = account.prolonged().await;
            (client, renewed) = (account.enter(&env.school.org_id).await.client, Instant::now());
        }
        let body = json!({
            "request_id": client.request_id(), "org_id": client.org_id(), "chat_id": channel, "text": crate::load::TEXT,
        });
        let sent = Instant::now();
        // The others continue while the call waits.
        let call = client.once(&method, body);
        tokio::pin!(call);
        let response = tokio::select! {
            response = &mut call => response,
            done = &mut until => {
                let _last = call.await;
                break done;
            }
        };
        match response {
            Ok(_) => times.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX)),
            Err(_) => refused += 1,
        }
    };
    times.sort_unstable();
    let load = Load {
        seconds: begin.elapsed().as_secs_f64(),
        times,
    };
    let mut numbers = load.numbers(Duration::ZERO);
    numbers.remove("cpu_us");
    numbers.insert("refused", refused.into());
    Ok((numbers, done))
}

/// One member of an organization after the other, in a transaction each.
struct Changes {
    db: Db,
    org_id: OrgId,
    with_event: bool,
}

impl Work for Changes {
    async fn run_once(&mut self) -> anyhow::Result<()> {
        let (db, org_id, with_event) = (self.db.clone(), self.org_id, self.with_event);
        let member_id: MemberId = db.env().id();
        let write = db.write(|tx| async move {
            let values: [Value; 3] = [
                org_id.uuid().into(),
                member_id.uuid().into(),
                "Мария Кузнецова".into(),
            ];
            let sql = "INSERT INTO bench_member (org_id, member_id, full_name) VALUES ($1, $2, $3)";
            let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
            tx.execute_raw(statement).await?;
            if with_event {
                let admitted = MemberAdmitted {
                    member_id: member_id.to_string(),
                    ..Default::default()
                };
                append_event(&tx, org_id, Payload::MemberAdmitted(admitted));
            }
            Ok::<_, StorageError>(())
        });
        Ok(write.await?)
    }
}

/// The price of an event: `plain` are transactions that insert a row, `events` the same with an event each,
/// in as many organizations at the same time. `one_sender` does it in one organization, so that it shows the
/// time of a transaction without a wait for the others.
pub(super) async fn changes(options: Options) -> anyhow::Result<Measured> {
    let database = TestDatabase::postgres().await;
    let config = DatabaseConfig {
        // Half of the connections are for writing, so that each organization has one.
        max_connections: 2 * u32::try_from(ORGANIZATIONS)?,
        ..DatabaseConfig::new(database.url())
    };
    let db = Db::connect(&config, "bench", Secrets::new([7; 32]), Env::system()).await?;
    let mut migrations = parta_database::migrations();
    migrations.extend(parta_feed::migrations());
    db.migrate(migrations).await?;
    let table = "CREATE TABLE bench_member (org_id uuid, member_id uuid, full_name text, PRIMARY KEY (org_id, member_id))";
    db.writer().execute_unprepared(table).await?;
    let organizations: Rc<Vec<OrgId>> = Rc::new((0..ORGANIZATIONS).map(|_| db.env().id()).collect());
    let variant = |name, with_event, count: usize| {
        let (db, organizations, duration) = (db.clone(), organizations.clone(), options.duration());
        Variant::new(name, move || {
            let changes = organizations.iter().cycle().take(count).map(|org_id| Changes {
                db: db.clone(),
                org_id: *org_id,
                with_event,
            });
            let mut changes: Vec<_> = changes.collect();
            async move {
                let load = closed_loop(&mut changes, duration).await?;
                let mut numbers = load.numbers(Duration::ZERO);
                numbers.remove("cpu_us");
                Ok(numbers)
            }
        })
    };
    let mut variants = [
        variant("plain", false, ORGANIZATIONS),
        variant("events", true, ORGANIZATIONS),
        variant("one_sender", true, 1),
    ];
    let machine = Machine {
        postmaster: Some(postmaster(database.url()).await?),
    };
    let folder = tempfile::tempdir()?;
    let measured = run_rounds(&options, folder.path(), &machine, &mut variants).await?;
    db.close().await;
    Ok(measured)
}

/// Chat builds its copy of the roster of one school again: by the log, and by a snapshot.
pub(super) async fn bootstrap(options: Options) -> anyhow::Result<Measured> {
    let test_env = TestEnv::open(&options, &[]).await?;
    // A snapshot after an expired cursor is a WARN.
    test_env.suite.expect_complaints(&["snapshot", "cursor"]).await;
    let folder = tempfile::tempdir()?;
    write_roster(folder.path(), options.people);
    let seconds = import(&test_env.school, &options, folder.path()).await?;
    println!(
        "bench: imported {} people, chat {seconds:.1} s behind",
        options.people
    );
    let url = |url: &Option<String>| url.clone().context("this case needs PostgreSQL");
    let (chat, membership) = (url(&test_env.chat_database)?, url(&test_env.membership_database)?);
    let last = query_text(&membership, "SELECT max(position)::text FROM event_head").await?;
    let events: f64 = last.parse()?;
    let (env, chat) = (&test_env, chat.as_str());
    let mut variants = [
        Variant::new("log", move || async move {
            let delete_cursors = "DELETE FROM feed_cursor WHERE consumer LIKE 'chat.%' RETURNING consumer";
            let mut numbers =
                restarted(env, async || query_text(chat, delete_cursors).await.map(drop)).await?;
            let seconds = numbers.get("seconds").copied().unwrap_or_default();
            numbers.insert("rate", events / seconds.max(0.001));
            Ok(numbers)
        }),
        Variant::new("snapshot", move || async move {
            let expire = async || {
                env.suite.run(&["expire-cursors", "--only", "membership"]).await;
                Ok(())
            };
            restarted(env, expire).await
        }),
    ];
    let measured = run_rounds(&options, folder.path(), &env.machine, &mut variants).await?;
    drop(variants);
    test_env.close().await;
    Ok(measured)
}

/// Restarts the server twice, the second time after this change to its databases. Returns by how much the
/// second start took longer until chat had caught up, and how much more memory it used.
async fn restarted(env: &TestEnv, change: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<Numbers> {
    let start = async || {
        env.suite.restart("chat").await;
        let seconds = caught_up(&env.school).await?;
        let process = env.suite.process_ids().await.into_values().next();
        anyhow::Ok((seconds, peak_kib(process.context("no server")?) / 1024.0))
    };
    env.suite.kill("chat").await;
    let (idle_seconds, idle_mib) = start().await?;
    env.suite.kill("chat").await;
    change().await?;
    let (seconds, peak_mib) = start().await?;
    Ok(Numbers::from([
        ("seconds", (seconds - idle_seconds).max(0.0)),
        ("growth_mib", (peak_mib - idle_mib).max(0.0)),
        ("peak_mib", peak_mib),
    ]))
}
