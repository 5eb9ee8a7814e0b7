use sea_orm::{ConnectionTrait, EntityTrait, IntoActiveModel, sea_query::OnConflict};

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
