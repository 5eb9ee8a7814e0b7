use sea_orm::{
    ConnectionTrait, EntityTrait, IntoActiveModel, Iterable as _, PrimaryKeyToColumn as _,
    sea_query::OnConflict,
};

use crate::StorageError;

/// Inserts a row unless its key or one of the unique indexes of the table has one. Returns whether it was
/// inserted. A transaction waits for another one that inserts the same row.
pub async fn insert_if_absent<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    row: impl IntoActiveModel<E::ActiveModel>,
) -> Result<bool, StorageError> {
    let inserted = E::insert(row.into_active_model())
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(conn)
        .await?;
    Ok(inserted == 1)
}

/// Inserts a row, or replaces all columns of the row that has its key. The new row has all columns.
pub async fn insert_or_replace<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    row: impl IntoActiveModel<E::ActiveModel>,
) -> Result<(), StorageError> {
    let others = E::Column::iter().filter(|column| E::PrimaryKey::from_column(*column).is_none());
    let replace = OnConflict::columns(E::PrimaryKey::iter())
        .update_columns(others)
        .to_owned();
    E::insert(row.into_active_model())
        .on_conflict(replace)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}
