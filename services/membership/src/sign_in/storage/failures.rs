//! The table `sign_in_failure` and named queries over it. It belongs to no organization, so the queries have
//! no scope. Its keys are digests.
use chrono::{DateTime, Utc};
use parta_database::{StorageError, table};
use sea_orm::{
    ActiveValue::Set,
    ConnectionTrait, EntityTrait as _,
    sea_query::{Expr, ExprTrait as _, OnConflict},
};

use crate::{sign_in::model::FAILURES_MAX, storage::delete_before};

table!(failure, "sign_in_failure", {
    #[sea_orm(primary_key, auto_increment = false)]
    subject: String,
    failures: i32,
    latest_time: DateTimeUtc,
});

/// The wrong codes in a row that were counted.
pub(in crate::sign_in) async fn count(
    conn: &impl ConnectionTrait,
    subject: &str,
) -> Result<i32, StorageError> {
    let row = failure::Entity::find_by_id(subject.to_owned()).one(conn).await?;
    Ok(row.map_or(0, |row| row.failures))
}

/// Counts a wrong code. Returns false, and changes nothing, if the maximum is reached.
pub(in crate::sign_in) async fn add(
    conn: &impl ConnectionTrait,
    subject: &str,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let row = failure::ActiveModel {
        subject: Set(subject.to_owned()),
        failures: Set(1),
        latest_time: Set(now),
    };
    let failures = || Expr::col((failure::Entity, failure::Column::Failures));
    let on_conflict = OnConflict::column(failure::Column::Subject)
        .value(failure::Column::Failures, failures().add(1))
        .update_column(failure::Column::LatestTime)
        .action_and_where(failures().lt(FAILURES_MAX))
        .to_owned();
    let counted = failure::Entity::insert(row)
        .on_conflict(on_conflict)
        .exec_without_returning(conn)
        .await?;
    Ok(counted > 0)
}

pub(in crate::sign_in) async fn delete(
    conn: &impl ConnectionTrait,
    subject: &str,
) -> Result<(), StorageError> {
    failure::Entity::delete_by_id(subject.to_owned())
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes the counts whose latest wrong code was before a time.
pub(in crate::sign_in) async fn delete_old(
    conn: &impl ConnectionTrait,
    counted_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    delete_before::<failure::Entity>(conn, failure::Column::LatestTime, counted_before).await
}
