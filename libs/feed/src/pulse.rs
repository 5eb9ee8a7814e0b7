//! The proof that a database accepts commits.

use parta_database::{Db, StorageError};

use crate::heads::Heads;

/// Fails unless the database responds, and on PostgreSQL unless it has accepted a commit of this replica
/// within the last six seconds. A primary that was deposed serves reads for as long as a connection to it
/// lasts, with rows that no longer change.
///
/// It is the condition under which the feed sends heartbeats. Callers share its reading of the heads, which
/// takes place at most once a second.
pub async fn require_commits(db: &Db) -> Result<(), StorageError> {
    db.shared::<Heads>().refresh(db).await
}
