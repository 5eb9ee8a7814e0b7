//! The cost of reads does not grow with the log: plans and counters of both databases for the statements of
//! the service, with a thousand entries and with a million.
#![expect(clippy::print_stdout, reason = "prints the measured costs")]
use chrono::TimeDelta;
use parta_access::{OrgScope, Secrets};
use parta_database::{DatabaseConfig, Db};
use parta_ids::{ChatId, Env, MemberId, OrgId, TypedId};
use parta_testkit::{TestDatabase, on_both};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, QueryResult, QueryTrait,
    Statement, Value, sea_query::SelectStatement,
};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    archive::{Step, archive_step},
    entries::{self, ChatKind, EntryTable},
};

/// Rows of a page, in entries, and one more.
const PAGE: u64 = 51;
/// Chats of the member whose list is read. Half of them are personal chats.
const CHATS: u64 = 200;

/// The `n`th id. Both databases can compute it.
fn id(n: u64) -> Uuid {
    Uuid::from_u64_pair(0x7000, 0x8000_0000_0000_0000 | n)
}

/// The SQL expressions of the id of a number.
const POSTGRES_ID: &str = "('00000000-0000-7000-8000-' || lpad(to_hex(#), 12, '0'))::uuid";
const SQLITE_ID: &str = "unhex('00000000000070008000' || printf('%012x', #))";

struct Reads {
    scope: OrgScope,
    chat: ChatId,
    member: MemberId,
}

impl Reads {
    fn new() -> Self {
        Self {
            scope: OrgScope::for_consumer("growth", OrgId::from_uuid(id(0))),
            chat: ChatId::from_uuid(id(1)),
            member: MemberId::from_uuid(id(7)),
        }
    }

    fn page(&self, table: EntryTable, range: (i64, i64), newest_first: bool) -> SelectStatement {
        entries::entries_query(table, (&self.scope, self.chat), range, newest_first, PAGE)
    }

    /// The usual reads in a chat with this number of entries, and the number of rows that each may read.
    fn all(&self, entries: i64) -> Vec<(&'static str, SelectStatement, u64)> {
        let (middle, newest) = (entries / 2, true);
        let direct = (1..=CHATS / 2).map(id).collect();
        let log = EntryTable::Log;
        vec![
            ("newest page", self.page(log, (0, entries), newest), PAGE),
            (
                "page back in the middle",
                self.page(log, (0, middle), newest),
                PAGE,
            ),
            (
                "forward from a cursor",
                self.page(log, (middle, entries), !newest),
                PAGE,
            ),
            (
                "page back in the archive",
                self.page(EntryTable::Archive, (0, middle), newest),
                PAGE,
            ),
            (
                "forward in the archive",
                self.page(EntryTable::Archive, (middle, entries), !newest),
                PAGE,
            ),
            (
                "unread list",
                entries::memberships_query(&self.scope, self.member, None, CHATS + 1).into_query(),
                2 * CHATS,
            ),
            (
                "peers of personal chats",
                entries::peers_query(&self.scope, self.member, direct).into_query(),
                // The rows of both members are read.
                2 * 128,
            ),
        ]
    }
}

/// The statements that fill the tables up to these numbers of chats and of entries of the first chat, in the
/// log and in the archive.
fn fill(postgres: bool, (chats, entries): (u64, u64)) -> Vec<String> {
    let id = |n: &str| if postgres { POSTGRES_ID } else { SQLITE_ID }.replace('#', n);
    let series = |upto: u64| {
        if postgres {
            format!("generate_series(1, {upto}) i")
        } else {
            format!(
                "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {upto}) SELECT i FROM n)"
            )
        }
    };
    let (now, yes) = if postgres {
        ("now()", "true")
    } else {
        ("'2026-01-01T00:00:00.000000+00:00'", "1")
    };
    let (direct, custom) = (ChatKind::Direct as i16, ChatKind::Custom as i16);
    let insert = |table: &str, columns: &str, select: String, from: String| {
        format!(
            "INSERT INTO {table} ({columns}) SELECT {select} FROM {from} WHERE true ON CONFLICT DO NOTHING"
        )
    };
    // Each organization has ten thousand chats. The first one is read.
    let org = id("(i / 10000)");
    let columns = "org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, create_time";
    let entry = format!(
        "{}, {}, i, {}, 1, {}, {}, NULL, 'Домашнее задание: упражнение 214, страница 87', {now}",
        id("0"),
        id("1"),
        id("i"),
        id("7"),
        id("i"),
    );
    let member = |who: &str| format!("{org}, {}, {}, 0, NULL, 0, {yes}, 1", id("i"), id(who));
    let columns_of_participant = "org_id, chat_id, member_id, joined_seq, left_seq, read_seq, may_post, kind";
    vec![
        insert(
            "chat",
            "org_id, chat_id, kind, label, create_time, head_seq, audience_version",
            format!(
                "{org}, {}, CASE WHEN i <= 100 THEN {direct} ELSE {custom} END, 'Чат', {now}, 0, 0",
                id("i")
            ),
            series(chats),
        ),
        insert("participant", columns_of_participant, member("7"), series(CHATS)),
        insert(
            "participant",
            columns_of_participant,
            member("(1000000 + i)"),
            series(chats),
        ),
        insert("entry", columns, entry.clone(), series(entries)),
        insert("entry_archive", columns, entry, series(entries)),
    ]
}

async fn database(database: &TestDatabase) -> (Db, DatabaseConnection) {
    let env = Env::system();
    let (config, secrets) = (DatabaseConfig::new(database.url()), Secrets::generate(&env));
    let db = Db::connect(&config, "chat", secrets, env).await.unwrap();
    db.migrate(crate::migrations()).await.unwrap();
    // One connection, because settings and counters belong to the session.
    let mut options = ConnectOptions::new(database.url());
    options.max_connections(1).sqlx_logging(false);
    (db, Database::connect(options).await.unwrap())
}

async fn rows(conn: &DatabaseConnection, sql: &str) -> Vec<QueryResult> {
    let statement = Statement::from_string(conn.get_database_backend(), sql);
    conn.query_all_raw(statement).await.unwrap()
}

/// The rows and blocks that a statement read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    rows: u64,
    blocks: u64,
}

fn number(node: &Json, name: &str) -> u64 {
    node[name].as_f64().map_or(0, |n| n.round() as u64)
}

/// The rows that the leaves of a plan read from tables and indexes. Fails if one of them scans a whole table.
fn rows_read(node: &Json, name: &str) -> u64 {
    let kind = node["Node Type"].as_str().unwrap();
    assert!(!kind.contains("Seq Scan") && kind != "Sort", "{name}: {node:#}");
    let below = node["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    if kind.contains("Scan") && below.is_empty() {
        let dropped = number(node, "Rows Removed by Filter") + number(node, "Rows Removed by Index Recheck");
        return (number(node, "Actual Rows") + dropped) * number(node, "Actual Loops");
    }
    below.iter().map(|node| rows_read(node, name)).sum()
}

/// The cost of a statement, prepared as by the driver: the higher one of its custom and its generic plan.
async fn cost(conn: &DatabaseConnection, name: &str, query: &SelectStatement) -> Cost {
    let Statement { sql, values, .. } = DbBackend::Postgres.build(query);
    let values: Vec<_> = values.map(|values| values.0).unwrap_or_default();
    let literals: Vec<_> = values
        .iter()
        .map(|value| match value {
            Value::Uuid(Some(id)) => format!("'{id}'"),
            Value::BigInt(Some(n)) => n.to_string(),
            Value::BigUnsigned(Some(n)) => n.to_string(),
            other => panic!("a value of another kind: {other:?}"),
        })
        .collect();
    conn.execute_unprepared(&format!("PREPARE this AS {sql}"))
        .await
        .unwrap();
    let mut most = Cost { rows: 0, blocks: 0 };
    for mode in ["force_custom_plan", "force_generic_plan"] {
        conn.execute_unprepared(&format!("SET plan_cache_mode = {mode}"))
            .await
            .unwrap();
        let explain = format!(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE this ({})",
            literals.join(", ")
        );
        // The first execution fills the caches of the planner.
        rows(conn, &explain).await;
        let plan: Json = rows(conn, &explain).await[0].try_get_by_index(0).unwrap();
        let plan = &plan[0]["Plan"];
        most.rows = most.rows.max(rows_read(plan, name));
        let blocks = number(plan, "Shared Hit Blocks") + number(plan, "Shared Read Blocks");
        most.blocks = most.blocks.max(blocks);
    }
    conn.execute_unprepared("DEALLOCATE this").await.unwrap();
    most
}

async fn measure(conn: &DatabaseConnection, (chats, entries): (u64, u64)) -> Vec<(&'static str, Cost)> {
    conn.execute_unprepared("SET session_replication_role = replica; SET synchronous_commit = off")
        .await
        .unwrap();
    for sql in fill(true, (chats, entries)) {
        conn.execute_unprepared(&sql).await.unwrap();
    }
    conn.execute_unprepared("VACUUM ANALYZE").await.unwrap();
    let mut costs = Vec::new();
    for (name, query, rows) in Reads::new().all(entries.cast_signed()) {
        let cost = cost(conn, name, &query).await;
        assert!(
            cost.rows > 0 && cost.rows <= rows,
            "{name} at {entries}: {cost:?}"
        );
        costs.push((name, cost));
    }
    costs
}

async fn check_postgres(test: &TestDatabase) {
    let (db, conn) = database(test).await;
    let small = measure(&conn, (60_000, 1_000)).await;
    let large = measure(&conn, (60_000, 1_000_000)).await;
    for ((name, small), (_, large)) in small.iter().zip(&large) {
        println!("{name}: {small:?} of a thousand, {large:?} of a million");
        // A page of entries takes a few blocks, a page of chats a few per chat.
        let few = if small.rows <= PAGE { 16 } else { 8 * CHATS };
        assert!(large.blocks <= few, "{name}: {large:?}");
        // The index of a million rows is one or two levels deeper than that of a thousand.
        let higher = 2 * small.rows.max(4);
        assert!(
            large.rows <= small.rows && large.blocks <= small.blocks + higher,
            "{name}: {small:?}, then {large:?}"
        );
    }
    check_updates_stay_in_page(&conn).await;
    // The archiving also reads by key, and a batch reads only the entries that it moves.
    check_archiving_reads_by_key(&db, &conn).await;
    conn.close().await.unwrap();
}

async fn counter(conn: &DatabaseConnection, expression: &str, tables: &str) -> i64 {
    let sql = format!(
        "SELECT COALESCE(SUM({expression}), 0)::bigint FROM pg_stat_user_tables WHERE relname {tables}"
    );
    rows(conn, &sql).await[0].try_get_by_index(0).unwrap()
}

/// A message updates the row of its chat without updating an index.
async fn check_updates_stay_in_page(conn: &DatabaseConnection) {
    // Earlier counts must not be included.
    for sql in ["SELECT pg_stat_force_next_flush()", "SELECT pg_stat_reset()"] {
        conn.execute_unprepared(sql).await.unwrap();
    }
    for round in 0..20 {
        let insert = format!(
            "WITH p AS (SELECT i, {} AS chat FROM generate_series(2, {CHATS}) i)
             SELECT COUNT(*) FILTER (WHERE refusal IS NULL) FROM chat_post_many(
               ARRAY(SELECT '{org}'::uuid FROM p ORDER BY i), ARRAY(SELECT chat FROM p ORDER BY i),
               ARRAY(SELECT i - 1 FROM p ORDER BY i), ARRAY(SELECT '{me}'::uuid FROM p ORDER BY i), ARRAY(SELECT gen_random_uuid() FROM p),
               ARRAY(SELECT 'x'::bytea FROM p), ARRAY(SELECT gen_random_uuid() FROM p),
               ARRAY(SELECT 'text {round}' FROM p), ARRAY(SELECT NULL::text FROM p), now())",
            POSTGRES_ID.replace('#', "i"),
            org = id(0),
            me = id(7),
        );
        let sent: i64 = rows(conn, &insert).await[0].try_get_by_index(0).unwrap();
        assert_eq!(sent.unsigned_abs(), CHATS - 1);
    }
    conn.execute_unprepared("SELECT pg_stat_force_next_flush()")
        .await
        .unwrap();
    let updates = counter(conn, "n_tup_upd", "= 'chat'").await;
    let hot = counter(conn, "n_tup_hot_upd", "= 'chat'").await;
    println!("chat rows: {updates} updates, {hot} of them within their page");
    assert!(updates >= 20 * 199 && hot * 2 >= updates, "{hot} of {updates}");
    // No message reads the log: the unique constraint rejects repetitions.
    let read = counter(conn, "seq_tup_read + idx_tup_fetch", "LIKE 'entry%'").await;
    assert_eq!(read, 0, "rows of the log read by {updates} messages");
}

async fn check_archiving_reads_by_key(db: &Db, conn: &DatabaseConnection) {
    for sql in ["TRUNCATE entry_archive", "SELECT pg_stat_reset()"] {
        conn.execute_unprepared(sql).await.unwrap();
    }
    let horizon = db.env().now() + TimeDelta::days(1);
    for _ in 0..3 {
        let step = archive_step(db, horizon, 1_000).await.unwrap();
        assert_eq!(step, Step::Moved(1_000));
    }
    // The counters are complete when the connections are closed.
    db.close().await;
    let scans = counter(conn, "seq_tup_read", "= 'chat' OR relname LIKE 'entry%'").await;
    let read = counter(conn, "idx_tup_fetch", "LIKE 'entry%'").await;
    println!("three batches of the archive: {scans} rows by scans, {read} by keys");
    assert!(
        scans == 0 && read <= 3 * 4_000,
        "{scans} by scans, {read} by keys"
    );
}

/// SQLite counts no rows. Its plans show that each statement reads by a key.
async fn check_sqlite(test: &TestDatabase) {
    const ENTRIES: u64 = 1_000_000;
    let (db, conn) = database(test).await;
    db.close().await;
    conn.execute_unprepared("PRAGMA synchronous = OFF").await.unwrap();
    for sql in fill(false, (20_000, ENTRIES)) {
        conn.execute_unprepared(&sql).await.unwrap();
    }
    for analyzed in [false, true] {
        if analyzed {
            conn.execute_unprepared("ANALYZE").await.unwrap();
        }
        for (name, query, count) in Reads::new().all(ENTRIES.cast_signed()) {
            let statement = DbBackend::Sqlite.build(&query);
            let found = conn.query_all_raw(statement.clone()).await.unwrap().len() as u64;
            assert!(found > 0 && found <= count, "{name}: {found} rows");
            let explain = format!("EXPLAIN QUERY PLAN {}", statement.sql);
            let plan = Statement {
                sql: explain,
                ..statement
            };
            for row in conn.query_all_raw(plan).await.unwrap() {
                let detail: String = row.try_get("", "detail").unwrap();
                assert!(
                    detail.starts_with("SEARCH "),
                    "{name}, analyzed {analyzed}: {detail}"
                );
            }
        }
    }
    conn.close().await.unwrap();
}

on_both!(
    read_cost_does_not_grow_with_the_log,
    |test: TestDatabase| async move {
        if test.is_postgres() {
            check_postgres(&test).await;
        } else {
            check_sqlite(&test).await;
        }
    }
);
