//! A table of a test: rows with a name and a number.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use parta_database::{StorageError, Tx};
use sea_orm::{ConnectionTrait, Statement};
use sea_orm_migration::{prelude::*, schema::*};

struct Counter;
impl MigrationName for Counter {
    fn name(&self) -> &str {
        "test_0001_counter"
    }
}
#[async_trait::async_trait]
impl MigrationTrait for Counter {
    async fn up(&self, m: &SchemaManager) -> Result<(), sea_orm::DbErr> {
        let table = Table::create()
            .table("counter")
            .col(string("name").primary_key())
            .col(big_integer("n"))
            .to_owned();
        m.create_table(table).await
    }
}

pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    let mut all = parta_database::migrations();
    all.push(Box::new(Counter));
    all
}

pub(crate) async fn insert(tx: &Tx, name: &str) -> Result<(), StorageError> {
    let sql = "INSERT INTO counter (name, n) VALUES ($1, 0)";
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        [name.into()],
    ))
    .await?;
    Ok(())
}

pub(crate) async fn value(conn: &impl ConnectionTrait, name: &str) -> Option<i64> {
    let sql = "SELECT n FROM counter WHERE name = $1";
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, [name.into()]);
    conn.query_one_raw(statement)
        .await
        .unwrap()
        .map(|row| row.try_get("", "n").unwrap())
}
