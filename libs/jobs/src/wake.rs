//! The runners of this process learn at once that a job was enqueued.
use async_trait::async_trait;
use parta_database::{CommitStep, Db, StorageError, Tx};
use tokio::sync::watch;

/// Wakes the runners of this process.
#[derive(Default)]
pub(crate) struct JobHints(pub(crate) watch::Sender<()>);

/// Wakes the runners of this process after a commit that enqueued a job.
#[derive(Default)]
pub(crate) struct Wake;

#[async_trait]
impl CommitStep for Wake {
    async fn before_commit(&self, _tx: &Tx) -> Result<(), StorageError> {
        Ok(())
    }
    fn after_commit(&self, db: &Db) {
        db.shared::<JobHints>().0.send_replace(());
    }
    fn after_unknown_commit(&self, db: &Db) {
        self.after_commit(db);
    }
}
