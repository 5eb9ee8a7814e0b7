//! The tables `sign_in_limit` and `sign_in_failure` and named queries over them. They belong to no
//! organization, so the queries have no scope. Their keys are digests.
use chrono::{DateTime, Utc};
use parta_database::{StorageError, table};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    sea_query::{Expr, ExprTrait as _, OnConflict},
};

use crate::sign_in::model::{Bucket, FAILURES_MAX};

table!(bucket, "sign_in_limit", {
    #[sea_orm(primary_key, auto_increment = false)]
    kind: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    subject: String,
    full_millis: i64,
});
table!(failure, "sign_in_failure", {
    #[sea_orm(primary_key, auto_increment = false)]
    subject: String,
    failures: i32,
    latest_time: DateTimeUtc,
});

/// Takes a token of a bucket in one statement. Returns false, and changes nothing, if none is left.
pub(in crate::sign_in) async fn take(
    conn: &impl ConnectionTrait,
    kind: i32,
    subject: &str,
    of: Bucket,
    now_millis: i64,
) -> Result<bool, StorageError> {
    let row = bucket::ActiveModel {
        kind: Set(kind),
        subject: Set(subject.to_owned()),
        full_millis: Set(now_millis + of.interval_millis),
    };
    let full = || Expr::col((bucket::Entity, bucket::Column::FullMillis));
    let from = Expr::case(full().gt(now_millis), full()).finally(now_millis);
    let on_conflict = OnConflict::columns([bucket::Column::Kind, bucket::Column::Subject])
        .value(bucket::Column::FullMillis, from.add(of.interval_millis))
        .action_and_where(full().lte(of.latest_full_millis(now_millis)))
        .to_owned();
    let taken = bucket::Entity::insert(row)
        .on_conflict(on_conflict)
        .exec_without_returning(conn)
        .await?;
    Ok(taken > 0)
}

/// When a bucket will be full, in milliseconds since the epoch; `None` if it is full.
pub(in crate::sign_in) async fn find(
    conn: &impl ConnectionTrait,
    kind: i32,
    subject: &str,
) -> Result<Option<i64>, StorageError> {
    let row = bucket::Entity::find_by_id((kind, subject.to_owned()))
        .one(conn)
        .await?;
    Ok(row.map(|row| row.full_millis))
}

/// Puts one token back.
pub(in crate::sign_in) async fn give_back(
    conn: &impl ConnectionTrait,
    kind: i32,
    subject: &str,
    of: Bucket,
) -> Result<(), StorageError> {
    let less = Expr::col(bucket::Column::FullMillis).sub(of.interval_millis);
    bucket::Entity::update_many()
        .col_expr(bucket::Column::FullMillis, less)
        .filter(bucket::Column::Kind.eq(kind))
        .filter(bucket::Column::Subject.eq(subject))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes a bucket, which makes it full.
pub(in crate::sign_in) async fn delete(
    conn: &impl ConnectionTrait,
    kind: i32,
    subject: &str,
) -> Result<(), StorageError> {
    bucket::Entity::delete_by_id((kind, subject.to_owned()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes the buckets that are full, which limit nothing.
pub(in crate::sign_in) async fn delete_full(
    conn: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    bucket::Entity::delete_many()
        .filter(bucket::Column::FullMillis.lte(now.timestamp_millis()))
        .exec(conn)
        .await?;
    Ok(())
}

/// The wrong codes in a row that were counted.
pub(in crate::sign_in) async fn failures(
    conn: &impl ConnectionTrait,
    subject: &str,
) -> Result<i32, StorageError> {
    let row = failure::Entity::find_by_id(subject.to_owned()).one(conn).await?;
    Ok(row.map_or(0, |row| row.failures))
}

/// Counts a wrong code. Returns false, and changes nothing, if the maximum is reached.
pub(in crate::sign_in) async fn count_failure(
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

pub(in crate::sign_in) async fn delete_failures(
    conn: &impl ConnectionTrait,
    subject: &str,
) -> Result<(), StorageError> {
    failure::Entity::delete_by_id(subject.to_owned())
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes the counts whose latest wrong code was before a time.
pub(in crate::sign_in) async fn delete_old_failures(
    conn: &impl ConnectionTrait,
    counted_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    failure::Entity::delete_many()
        .filter(failure::Column::LatestTime.lt(counted_before))
        .exec(conn)
        .await?;
    Ok(())
}
