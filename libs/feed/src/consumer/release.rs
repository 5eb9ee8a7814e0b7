//! The end of a quarantine.
use parta_database::StorageError;
use parta_ids::{OrgId, TypedId};
use prost::Message;
use sea_orm::{ConnectionTrait, Statement};

use super::{Consumer, Handler, apply};
use crate::Source;

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Applies the waiting events of a quarantined organization and ends its quarantine. If an event fails
    /// again, nothing changes. For the operator, after the cause was removed.
    pub async fn release(&self, org_id: OrgId) -> Result<(), StorageError> {
        let result = self
            .db
            .write(|tx| async move {
                apply::lock(&tx, self.name).await?;
                let key = || [org_id.uuid().into(), self.name.into()];
                let backend = tx.get_database_backend();
                let sql =
                    "SELECT event FROM feed_quarantine_event WHERE org_id = $1 AND consumer = $2 ORDER BY seq";
                let rows = tx
                    .query_all_raw(Statement::from_sql_and_values(backend, sql, key()))
                    .await;
                for (index, row) in rows.map_err(StorageError::from)?.into_iter().enumerate() {
                    let bytes: Vec<u8> = row.try_get("", "event").map_err(StorageError::from)?;
                    let event =
                        S::Event::decode(bytes.as_slice()).map_err(|e| StorageError::Fault(e.to_string()))?;
                    self.apply_one(&tx, index, &event).await?;
                }
                let sql = "DELETE FROM feed_quarantine WHERE org_id = $1 AND consumer = $2";
                let done = tx
                    .execute_raw(Statement::from_sql_and_values(backend, sql, key()))
                    .await;
                done.map_err(StorageError::from)?;
                Ok::<_, apply::Failure>(())
            })
            .await;
        result.map_err(|failure| match failure {
            apply::Failure::Storage(error) => error,
            apply::Failure::Event { reason, .. } => StorageError::Fault(reason),
            apply::Failure::Superseded => StorageError::Conflict("the feed changed meanwhile".into()),
        })
    }
}
