use std::collections::BTreeSet;

use parta_database::Db;
use parta_ids::{OrgId, TypedId as _, Uuid};
use parta_testkit::TestDatabase;
use sea_orm::{ConnectionTrait as _, Statement};

use super::{History, Random};
use crate::ServiceEnv;

/// Rows of a table that are compared, without these columns.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The table.
    pub table: &'static str,
    /// The condition of the rows.
    pub only: &'static str,
    /// The columns that depend on more than the two feeds.
    pub without: &'static [&'static str],
}

/// The check that the handlers of the two feeds commute in a service. It compares the rows of all tables.
#[derive(Debug, Clone, Copy)]
pub struct FeedsCommute {
    /// The number of histories on each database, from that of the seed `PARTA_TEST_SEED` on.
    pub histories: usize,
    /// Tables that are not compared. `*` at the end stands for any rest of the name.
    pub skipped: &'static [&'static str],
    /// Parts of tables. A table without a part is compared as a whole.
    pub parts: &'static [Part],
    /// The names that replace generated ids in the rows: table, column and expression.
    pub names: Option<[&'static str; 3]>,
    /// Tables that have rows at the end of a history, so that the comparison shows something.
    pub filled: &'static [&'static str],
}

/// The log of the service itself, in which the events follow the order of the changes, the audit of its acts,
/// and what belongs to the database.
const OF_DATABASE: [&str; 5] = [
    "event*",
    "audit_*",
    "feed_pulse",
    "schema_requirement",
    "seaql_migrations",
];

impl FeedsCommute {
    /// Runs the check. `open` opens the service with its observer on an empty database, and `prepare` adds
    /// what people have made there before the orders differ.
    pub async fn check(
        &self,
        database: &TestDatabase,
        open: impl AsyncFn(&TestDatabase) -> ServiceEnv,
        prepare: impl AsyncFn(&ServiceEnv, OrgId),
    ) {
        let org = OrgId::from_uuid(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
        let first = std::env::var("PARTA_TEST_SEED").ok();
        let first: u64 = first.and_then(|text| text.parse().ok()).unwrap_or_default();
        let mut empty: BTreeSet<&str> = self.filled.iter().copied().collect();
        // Deleted at the end, when nothing uses them any more.
        let mut databases = Vec::new();
        for seed in (first..).take(self.histories) {
            let mut random = Random(seed);
            let history = History::generate(&mut random);
            let mut expected: Option<BTreeSet<String>> = None;
            for (order, batches) in history.orders(&mut random) {
                let of_order = database.another().await;
                let env = open(&of_order).await;
                databases.push(of_order);
                for batch in &history.known {
                    env.apply_batch(org, batch).await;
                }
                prepare(&env, org).await;
                for batch in batches {
                    env.apply_batch(org, batch).await;
                }
                let found = self.rows(&env.db).await;
                env.close().await;
                let Some(expected) = &expected else {
                    empty.retain(|table| {
                        let prefix = format!("{table}: ");
                        !found.iter().any(|row| row.starts_with(&prefix))
                    });
                    expected = Some(found);
                    continue;
                };
                let missing: Vec<_> = expected.difference(&found).collect();
                let other: Vec<_> = found.difference(expected).collect();
                assert!(
                    missing.is_empty() && other.is_empty(),
                    "seed {seed}, {order}:\nmissing {missing:#?}\nfound {other:#?}"
                );
            }
        }
        assert!(empty.is_empty(), "no history fills {empty:?}");
    }

    /// The rows of all tables that are compared.
    async fn rows(&self, db: &Db) -> BTreeSet<String> {
        let tables = if db.is_postgres() {
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
        } else {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        };
        let is_skipped = |table: &String| {
            let patterns = OF_DATABASE.iter().chain(self.skipped);
            patterns.copied().any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => table.starts_with(beginning),
                None => table == pattern,
            })
        };
        let mut rows = BTreeSet::new();
        for table in texts(db, tables)
            .await
            .into_iter()
            .filter(|table| !is_skipped(table))
        {
            let parts: Vec<_> = self.parts.iter().filter(|part| part.table == table).collect();
            if parts.is_empty() {
                self.add_rows(db, &table, ("TRUE", &[]), &mut rows).await;
            }
            for part in parts {
                self.add_rows(db, &table, (part.only, part.without), &mut rows)
                    .await;
            }
        }
        let names = self.generated_names(db).await;
        let rename = |row: String| names.iter().fold(row, |row, (id, name)| row.replace(id, name));
        rows.into_iter().map(rename).collect()
    }

    async fn add_rows(
        &self,
        db: &Db,
        table: &str,
        (only, without): (&str, &[&str]),
        rows: &mut BTreeSet<String>,
    ) {
        let row = if db.is_postgres() {
            let columns: Vec<_> = without.iter().map(|column| format!("'{column}'")).collect();
            format!("(to_jsonb(t) - ARRAY[{}]::text[])::text", columns.join(", "))
        } else {
            let columns = texts(db, &format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let compared = columns.iter().filter(|name| !without.contains(&name.as_str()));
            let quoted: Vec<_> = compared
                .map(|name| format!("'{name} ' || quote(\"{name}\")"))
                .collect();
            quoted.join(" || ', ' || ")
        };
        let sql = format!("SELECT {row} FROM \"{table}\" t WHERE {only}");
        rows.extend(
            texts(db, &sql)
                .await
                .into_iter()
                .map(|row| format!("{table}: {row}")),
        );
    }

    /// The texts of generated ids in rows, with the names that replace them.
    async fn generated_names(&self, db: &Db) -> Vec<(String, String)> {
        let Some([table, column, name]) = self.names else {
            return Vec::new();
        };
        let id = if db.is_postgres() {
            format!("{column}::text")
        } else {
            format!("quote({column})")
        };
        let ids = texts(db, &format!("SELECT {id} FROM {table} ORDER BY {column}")).await;
        let names = texts(db, &format!("SELECT {name} FROM {table} ORDER BY {column}")).await;
        ids.into_iter().zip(names).collect()
    }
}

async fn texts(db: &Db, sql: &str) -> Vec<String> {
    let statement = Statement::from_string(db.backend(), sql);
    let rows = db.conn().query_all_raw(statement).await.expect("rows");
    rows.iter()
        .map(|row| row.try_get_by_index(0).expect("a text"))
        .collect()
}
