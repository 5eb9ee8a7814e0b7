use parta_database::Tx;
use parta_ids::OrgId;

use super::Entry;

/// Gets the entries that were committed, in the order of the commits of each chat.
///
/// A lost call costs no entry: subscribers compare their position with the database.
pub(crate) trait EntrySink: Send + Sync {
    /// Publishes committed entries. Never waits; called once per batch.
    fn publish(&self, entries: Vec<Entry>);

    /// Publishes entries after the commit of `tx`, and never if it is rolled back.
    fn publish_after_commit(&self, tx: &Tx, entries: Vec<Entry>);

    /// Makes every replica compare the chats of the organization with what its subscribers have. Called by an
    /// act that finds that an earlier attempt was committed: that attempt may have died before it published
    /// its entries. Called also after a commit of unknown outcome.
    fn compare_organization(&self, org: OrgId);
}
