//! The heads of many organizations: a service that starts, learns all of them and a change of one, and what
//! they cost while nothing happens.
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::{TryStreamExt as _, future::try_join_all};
use parta_feed::EventPayload as _;
use parta_ids::MemberId;
use parta_integration_tests::peak_kib;
use parta_proto::feed::v1::WatchHeadsRequest;
use parta_proto_membership::v1::{
    MemberAdmitted, MemberState, Role, membership_event::Payload,
    membership_feed_service_client::MembershipFeedServiceClient,
};
use prost::Message as _;
use sea_orm::ConnectionTrait as _;
use serde_json::json;

use super::feeds::caught_up;
use crate::{
    Options,
    measure::{Measured, Numbers, Variant, run_rounds},
    test_env::{TestEnv, query_text},
};

/// The shortest time in which transactions at rest are counted.
const REST: Duration = Duration::from_secs(10);
/// The time after which the consumers are given up that have not applied the events of all organizations.
const LONGEST: Duration = Duration::from_secs(900);

/// Many organizations in the log of membership, beside a school that changes.
pub(super) async fn heads(options: Options) -> anyhow::Result<Measured> {
    let test_env = TestEnv::open(&options, &[]).await?;
    let url = test_env.membership_database.as_deref();
    insert_organizations(url.context("this case needs PostgreSQL")?, options.organizations).await?;
    let urls = test_env.suite.database_urls().await;
    let applied = wait_for_consumers(&urls, options.organizations).await?;
    let (env, urls, options) = (&test_env, urls.as_slice(), &options);
    let mut variants = [Variant::new("parta", move || async move {
        env.suite.kill("chat").await;
        let begin = Instant::now();
        env.suite.restart("chat").await;
        caught_up(&env.school).await?;
        let restart_seconds = begin.elapsed().as_secs_f64();
        let process = env.suite.process_ids().await.into_values().next();
        let peak_mib = peak_kib(process.context("no server")?) / 1024.0;
        let connect_seconds = watch_all(env, options.organizations).await?;
        let at_rest = transactions_at_rest(urls, options.duration().max(REST)).await?;
        Ok(Numbers::from([
            ("applied_seconds", applied.as_secs_f64()),
            ("restart_seconds", restart_seconds),
            ("peak_mib", peak_mib),
            ("connect_seconds", connect_seconds),
            ("change_ms", change(env).await?.as_secs_f64() * 1_000.0),
            ("per_second", at_rest.mean),
            ("busiest_per_second", at_rest.busiest),
        ]))
    })];
    let folder = tempfile::tempdir()?;
    let measured = run_rounds(options, folder.path(), &env.machine, &mut variants).await?;
    drop(variants);
    test_env.close().await;
    Ok(measured)
}

/// Inserts organizations into the log of membership, each with one member.
async fn insert_organizations(url: &str, organizations: i64) -> anyhow::Result<()> {
    let admitted = MemberAdmitted {
        member_id: parta_ids::Env::system().id::<MemberId>().to_string(),
        state: MemberState::Active.into(),
        roles: vec![Role::Pupil.into()],
        ..Default::default()
    };
    let payload = Payload::MemberAdmitted(admitted).into_event().encode_to_vec();
    let payload: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    let db = sea_orm::Database::connect(url).await?;
    db.execute_unprepared(&format!(
        "WITH made AS (SELECT gen_random_uuid() AS org_id, gen_random_uuid() AS event_id \
           FROM generate_series(1, {organizations})), \
         head AS (INSERT INTO event_head (org_id, position, event_id, previous_id) \
           SELECT org_id, 1, event_id, '00000000-0000-0000-0000-000000000000' FROM made) \
         INSERT INTO event (org_id, position, event_id, previous_id, occur_time, trace_parent, payload) \
           SELECT org_id, 1, event_id, '00000000-0000-0000-0000-000000000000', now(), '', '\\x{payload}' FROM made"
    ))
    .await?;
    db.execute_unprepared("VACUUM ANALYZE event_head").await?;
    Ok(db.close().await?)
}

/// Waits until all consumers of membership have applied the events of all organizations. Returns the time
/// that it took.
async fn wait_for_consumers(urls: &[String], organizations: i64) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let waiting = urls.iter().map(|url| async move {
        // Consumers of other feeds have few cursors.
        let count = "SELECT coalesce(min(n), -1)::text FROM (SELECT count(*) FILTER (WHERE position > 0) AS n \
                     FROM feed_cursor GROUP BY consumer HAVING count(*) > 100) consumers";
        loop {
            let applied: i64 = query_text(url, count).await?.parse()?;
            // A service that does not read membership has no such consumer.
            if applied >= organizations || (applied < 0 && begin.elapsed() > REST) {
                return anyhow::Ok(());
            }
            ensure!(
                begin.elapsed() < LONGEST,
                "{applied} of {organizations} organizations"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    try_join_all(waiting).await?;
    Ok(begin.elapsed())
}

/// Returns the seconds in which a service learns all heads of membership.
async fn watch_all(env: &TestEnv, organizations: i64) -> anyhow::Result<f64> {
    let channel = env.suite.service("chat").channel("membership");
    let begin = Instant::now();
    let mut feed = MembershipFeedServiceClient::new(channel);
    let stream = feed.watch_heads(WatchHeadsRequest {}).await?;
    let (mut stream, mut found) = (stream.into_inner(), 0);
    while let Some(response) = stream.try_next().await? {
        let heads = response.heads.unwrap_or_default();
        found += heads.heads.len();
        if heads.complete {
            break;
        }
    }
    ensure!(i64::try_from(found)? >= organizations, "{found} heads");
    Ok(begin.elapsed().as_secs_f64())
}

/// Creates a member. Returns the time until chat knows the member.
async fn change(env: &TestEnv) -> anyhow::Result<Duration> {
    let account = env.school.administrator.account.prolonged().await;
    let administrator = account.enter(&env.school.org_id).await;
    let body = json!({"full_name": "Пётр Новиков", "role": "ROLE_PUPIL", "unit_id": env.class});
    let begin = Instant::now();
    administrator
        .client
        .must("MemberService/CreateMember", body)
        .await;
    // The client presents the consistency token of the call before.
    let page = json!({"page_size": 1});
    administrator.client.must("ChatService/ListChats", page).await;
    Ok(begin.elapsed())
}

/// Transactions a second that a service runs on its database while nobody calls it.
struct AtRest {
    mean: f64,
    /// Of the service that runs the most.
    busiest: f64,
}

/// Counts the transactions of each service at rest. The statistics of a connection that has become idle
/// arrive within ten seconds. The count begins after that, so that those of the start are not included.
async fn transactions_at_rest(urls: &[String], duration: Duration) -> anyhow::Result<AtRest> {
    tokio::time::sleep(REST).await;
    let before = transactions(urls).await?;
    tokio::time::sleep(duration).await;
    let after = transactions(urls).await?;
    let each = after.iter().zip(&before);
    let rates: Vec<f64> = each
        .map(|(after, before)| (after - before) / duration.as_secs_f64())
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "five databases")]
    let services = rates.len() as f64;
    Ok(AtRest {
        mean: rates.iter().sum::<f64>() / services,
        busiest: rates.into_iter().fold(0.0, f64::max),
    })
}

/// Returns the number of transactions in each of these databases so far.
async fn transactions(urls: &[String]) -> anyhow::Result<Vec<f64>> {
    let mut counts = Vec::with_capacity(urls.len());
    for url in urls {
        let sql = "SELECT (xact_commit + xact_rollback)::text FROM pg_stat_database WHERE datname = current_database()";
        counts.push(query_text(url, sql).await?.parse()?);
    }
    Ok(counts)
}
