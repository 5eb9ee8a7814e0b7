//! The cost of a statement by an entity, against the same statement by hand (docs/adr/0044).
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::print_stdout, reason = "the measurement is printed")]

use chrono::{DateTime, Utc};
use parta_database::{StorageError, Tx, table};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, Statement, Value,
    sea_query::{Expr, OnConflict},
};
use sea_orm_migration::{prelude::*, schema::*};
use uuid::Uuid;

use crate::support::Store;

const ACTS: u128 = 1_000;
const TRANSACTIONS: u128 = 10;
/// Each round measures both forms, one after the other.
const ROUNDS: u128 = 5;

// The columns of an idempotency record.
table!(record, "cost_record", {
    #[sea_orm(primary_key, auto_increment = false)]
    principal: String,
    #[sea_orm(primary_key, auto_increment = false)]
    rpc: String,
    #[sea_orm(primary_key, auto_increment = false)]
    request_id: Uuid,
    digest: Vec<u8>,
    response: Option<Vec<u8>>,
    create_time: DateTimeUtc,
});

struct Records;
impl MigrationName for Records {
    fn name(&self) -> &str {
        "test_0001_cost_record"
    }
}
#[async_trait::async_trait]
impl MigrationTrait for Records {
    async fn up(&self, m: &SchemaManager) -> Result<(), sea_orm::DbErr> {
        let table = Table::create()
            .table("cost_record")
            .col(string("principal"))
            .col(string("rpc"))
            .col(uuid("request_id"))
            .col(binary("digest"))
            .col(binary_null("response"))
            .col(timestamp_with_time_zone("create_time"))
            .primary_key(Index::create().col("principal").col("rpc").col("request_id"))
            .to_owned();
        m.create_table(table).await
    }
}

const PRINCIPAL: &str = "members/mbr_01jx7k5h2e8fbt4m9v6q3w0rzc";
const RPC: &str = "parta.org_registry.v1.UnitService/RenameUnit";
const BYTES: [u8; 32] = [7; 32];

/// Claims a record, reads it and stores the response, by three statements by hand.
async fn by_hand(tx: &Tx, id: Uuid, now: DateTime<Utc>) -> Result<(), StorageError> {
    let key = || [PRINCIPAL.into(), RPC.into(), id.into()];
    let sql = "INSERT INTO cost_record (principal, rpc, request_id, digest, create_time) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let values = key().into_iter().chain([BYTES.to_vec().into(), Value::from(now)]);
    tx.execute_sql(sql, values).await?;
    let sql = "SELECT digest, response, create_time FROM cost_record \
               WHERE principal = $1 AND rpc = $2 AND request_id = $3";
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, key());
    let row = tx.query_one_raw(statement).await?.unwrap();
    let digest: Vec<u8> = row.try_get("", "digest")?;
    assert_eq!(digest, BYTES);
    assert_eq!(row.try_get::<Option<Vec<u8>>>("", "response")?, None);
    assert_eq!(row.try_get::<DateTime<Utc>>("", "create_time")?, now);
    let sql = "UPDATE cost_record SET response = $4 WHERE principal = $1 AND rpc = $2 AND request_id = $3";
    let values = key().into_iter().chain([Value::from(BYTES.to_vec())]);
    assert_eq!(tx.execute_sql(sql, values).await?, 1);
    Ok(())
}

/// The same three statements by the entity.
async fn by_entity(tx: &Tx, id: Uuid, now: DateTime<Utc>) -> Result<(), StorageError> {
    use record::{ActiveModel, Column, Entity};
    let row = ActiveModel {
        principal: Set(PRINCIPAL.to_owned()),
        rpc: Set(RPC.to_owned()),
        request_id: Set(id),
        digest: Set(BYTES.to_vec()),
        create_time: Set(now),
        ..Default::default()
    };
    Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(tx)
        .await?;
    let key = (PRINCIPAL.to_owned(), RPC.to_owned(), id);
    let row = Entity::find_by_id(key).one(tx).await?.unwrap();
    assert_eq!(
        (row.digest, row.response, row.create_time),
        (BYTES.to_vec(), None, now)
    );
    let updated = Entity::update_many()
        .col_expr(Column::Response, Expr::value(BYTES.to_vec()))
        .filter(Column::Principal.eq(PRINCIPAL))
        .filter(Column::Rpc.eq(RPC))
        .filter(Column::RequestId.eq(id))
        .exec(tx)
        .await?;
    assert_eq!(updated.rows_affected, 1);
    Ok(())
}

/// Returns the processor time of this process, in ticks of 10 ms.
fn processor_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The fields after the name of the program, which may contain spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[ignore = "measures: cargo xtask test -p parta-database --run-ignored all -E 'test(cost_of_an_entity)'"]
fn cost_of_an_entity_against_a_statement_by_hand() {
    parta_testkit::run_on_sqlite(|database| async move {
        let mut migrations = parta_database::migrations();
        migrations.push(Box::new(Records));
        let store = Store::open(&database, migrations).await;
        let now = store.db.env().now();
        let mut ticks = [0, 0];
        for round in 0..ROUNDS {
            for (form, ticks) in ticks.iter_mut().enumerate() {
                let begin = processor_ticks();
                for transaction in 0..TRANSACTIONS {
                    let done: Result<(), StorageError> = store
                        .db
                        .write(|tx| async move {
                            for act in 0..ACTS {
                                let number = (round * TRANSACTIONS + transaction) * ACTS + act;
                                let id = Uuid::from_u128(number * 2 + form as u128);
                                if form == 0 {
                                    by_hand(&tx, id, now).await?;
                                } else {
                                    by_entity(&tx, id, now).await?;
                                }
                            }
                            Ok(())
                        })
                        .await;
                    done.unwrap();
                }
                *ticks += processor_ticks() - begin;
            }
        }
        // A tick is 10 ms, and an act has three statements.
        let acts = ROUNDS * TRANSACTIONS * ACTS;
        let [by_hand, by_entity] = ticks.map(|ticks| u128::from(ticks) * 10_000 * 100 / acts / 3);
        println!("hundredths of a microsecond: by hand {by_hand}, by the entity {by_entity}");
    });
}
