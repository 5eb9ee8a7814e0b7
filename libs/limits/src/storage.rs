//! The table `limit_bucket` and named queries over it. It belongs to no organization, so the queries have no
//! scope.
use parta_database::{StorageError, table};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    sea_query::{Expr, ExprTrait as _, OnConflict},
};

use crate::Bucket;

table!(bucket, "limit_bucket", {
    #[sea_orm(primary_key, auto_increment = false)]
    name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    subject: String,
    full_millis: i64,
});

/// Takes a token of a bucket in one statement. Returns false, and changes nothing, if none is left.
pub(crate) async fn take(
    conn: &impl ConnectionTrait,
    name: &str,
    subject: &str,
    of: Bucket,
    now_millis: i64,
) -> Result<bool, StorageError> {
    let row = bucket::ActiveModel {
        name: Set(name.to_owned()),
        subject: Set(subject.to_owned()),
        full_millis: Set(now_millis + of.interval_millis()),
    };
    let full = || Expr::col((bucket::Entity, bucket::Column::FullMillis));
    let from = Expr::case(full().gt(now_millis), full()).finally(now_millis);
    let on_conflict = OnConflict::columns([bucket::Column::Name, bucket::Column::Subject])
        .value(bucket::Column::FullMillis, from.add(of.interval_millis()))
        .action_and_where(full().lte(of.latest_full_millis(now_millis)))
        .to_owned();
    let taken = bucket::Entity::insert(row)
        .on_conflict(on_conflict)
        .exec_without_returning(conn)
        .await?;
    Ok(taken > 0)
}

/// Returns when a bucket will be full, in milliseconds since the epoch; `None` if it is full.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    name: &str,
    subject: &str,
) -> Result<Option<i64>, StorageError> {
    let row = bucket::Entity::find_by_id((name.to_owned(), subject.to_owned()))
        .one(conn)
        .await?;
    Ok(row.map(|row| row.full_millis))
}

/// Puts one token back.
pub(crate) async fn give_back(
    conn: &impl ConnectionTrait,
    name: &str,
    subject: &str,
    of: Bucket,
) -> Result<(), StorageError> {
    let less = Expr::col(bucket::Column::FullMillis).sub(of.interval_millis());
    bucket::Entity::update_many()
        .col_expr(bucket::Column::FullMillis, less)
        .filter(bucket::Column::Name.eq(name))
        .filter(bucket::Column::Subject.eq(subject))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes a bucket, which makes it full.
pub(crate) async fn delete(
    conn: &impl ConnectionTrait,
    name: &str,
    subject: &str,
) -> Result<(), StorageError> {
    bucket::Entity::delete_by_id((name.to_owned(), subject.to_owned()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes the buckets that are full, which limit nothing.
pub(crate) async fn delete_full(conn: &impl ConnectionTrait, now_millis: i64) -> Result<(), StorageError> {
    bucket::Entity::delete_many()
        .filter(bucket::Column::FullMillis.lte(now_millis))
        .exec(conn)
        .await?;
    Ok(())
}
