use std::collections::{BTreeMap, BTreeSet};

use parta_database::{Db, StorageError};
use parta_ids::{JoinRequestId, OrgId};

use super::storage;

/// Lists the requests to join that ended without a membership in the last 31 days, by organization. A
/// membership that was restored may have them pending again.
pub async fn list_refused_requests(
    db: &Db,
) -> Result<BTreeMap<OrgId, BTreeSet<JoinRequestId>>, StorageError> {
    storage::list_refused_requests(db.conn()).await
}
