//! The heads of all logs of a database, as this replica knows them.
//!
//! Own commits and hints of the bus are known at once; everything else by reading all heads, at most once a
//! second, however many streams wait. Nothing is queued: a reader that lags sees the latest head of
//! each organization.
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use parta_database::{Db, LogHead, StorageError};
use parta_ids::OrgId;
use sea_orm::{ConnectionTrait as _, Statement};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::{freshness::MAX_AGE, log};

/// All heads are read this often while anybody follows them.
pub(crate) const READ_INTERVAL: Duration = Duration::from_secs(1);
/// A replica proves this often that its database accepts commits. A primary that was deposed does not.
const PULSE_INTERVAL: Duration = Duration::from_secs(5);
/// The endings are read this often while none is late. One becomes known well before [`MAX_AGE`].
const OVERDUE_INTERVAL: Duration = Duration::from_secs(5);

/// Lists the organizations that have an ending whose event is late, each with the time since it was due.
pub(crate) type OverdueQuery =
    Box<dyn Fn(Db) -> BoxFuture<'static, Result<Vec<(OrgId, Duration)>, StorageError>> + Send + Sync>;

/// The known heads of a database. All handles of the database share it.
#[derive(Default)]
pub(crate) struct Heads {
    known: Mutex<Known>,
    changed: watch::Sender<u64>,
    /// Lists the endings that the service has not published in time; unset if it has none.
    overdue_query: OnceLock<OverdueQuery>,
    overdue: Mutex<Overdue>,
    reading: tokio::sync::Mutex<Reading>,
    /// Held by the one who reads the heads every second for all who follow one log.
    reader: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    epoch: Option<Uuid>,
    heads: HashMap<OrgId, Entry>,
    /// The organizations by the version of their latest change.
    by_version: BTreeMap<u64, OrgId>,
    version: u64,
    /// Notifies those who follow one log only.
    followers: HashMap<OrgId, watch::Sender<()>>,
}

struct Entry {
    head: LogHead,
    version: u64,
    /// Whether this replica committed the last events, so that the others should be notified.
    is_own: bool,
}

/// The endings that were late at the last reading that succeeded, each with the time since it was due then.
#[derive(Default)]
struct Overdue {
    found: Vec<(OrgId, Duration)>,
    read_at: Option<Instant>,
}

#[derive(Default)]
struct Reading {
    completed: Option<Instant>,
    pulsed: Option<Instant>,
    replica_id: Option<Uuid>,
    /// When the last reading failed, and why.
    failed: Option<(Instant, String)>,
}

/// The heads that changed after a version.
pub(crate) struct Changes {
    pub(crate) heads: Vec<(OrgId, LogHead)>,
    /// The version up to which they are complete.
    pub(crate) version: u64,
}

impl Known {
    fn put(&mut self, org_id: OrgId, head: LogHead, is_own: bool) {
        self.version += 1;
        let version = self.version;
        let entry = Entry {
            head,
            version,
            is_own,
        };
        if let Some(before) = self.heads.insert(org_id, entry) {
            self.by_version.remove(&before.version);
        }
        self.by_version.insert(version, org_id);
        if let Some(follower) = self.followers.get(&org_id) {
            follower.send_replace(());
        }
    }

    /// Notes a head that a commit or a hint announces. Announcements arrive in any order, so only a later
    /// head counts. Epochs have no order: they are named by clocks. The next reading shows a log that has
    /// become shorter.
    fn raise(&mut self, org_id: OrgId, head: LogHead, is_own: bool) -> bool {
        let is_later = self
            .heads
            .get(&org_id)
            .is_none_or(|known| known.head.position < head.position);
        if is_later {
            self.put(org_id, head, is_own);
        }
        is_later
    }
}

impl Overdue {
    /// Whether the endings need not be read again. A late one is looked for at each reading, so that its
    /// organization is served as soon as it is published.
    fn is_current(&self) -> bool {
        self.found.is_empty() && self.read_at.is_some_and(|at| at.elapsed() < OVERDUE_INTERVAL)
    }
}

impl Heads {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Notes the head after a commit of this replica.
    pub(crate) fn committed(&self, org_id: OrgId, head: LogHead) {
        let mut known = self.known();
        known.epoch = Some(head.epoch);
        let is_news = known.raise(org_id, head, true);
        drop(known);
        if is_news {
            self.notify();
        }
    }

    /// Notes the head that another replica has announced. A head of another epoch is not believed: it comes
    /// from another installation on the same bus, or the next reading shows it.
    pub(crate) fn hinted(&self, org_id: OrgId, head: LogHead) {
        let mut known = self.known();
        let is_news = known.epoch == Some(head.epoch) && known.raise(org_id, head, false);
        drop(known);
        if is_news {
            self.notify();
        }
    }

    /// Sets the query of endings whose events are late. It runs with readings of the heads: with each one
    /// while an ending is late, and otherwise every [`OVERDUE_INTERVAL`].
    pub(crate) fn report_overdue(&self, query: OverdueQuery) {
        // A second server of the same database sets the same query.
        let _ = self.overdue_query.set(query);
    }

    fn known_overdue(&self) -> MutexGuard<'_, Overdue> {
        self.overdue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the endings that were late at the last reading, each with the time since it was due.
    pub(crate) fn overdue(&self) -> Vec<(OrgId, Duration)> {
        let overdue = self.known_overdue();
        let since = overdue.read_at.map(|at| at.elapsed()).unwrap_or_default();
        let late = overdue.found.iter();
        late.map(|(org_id, late)| (*org_id, *late + since)).collect()
    }

    /// Reads the endings that are late. If that fails, those of the last reading count for a while, so that
    /// one query does not stop the feeds of all organizations.
    async fn read_overdue(&self, db: &Db) -> Result<(), StorageError> {
        let Some(query) = self.overdue_query.get() else {
            return Ok(());
        };
        if self.known_overdue().is_current() {
            return Ok(());
        }
        let read = query(db.clone()).await;
        let mut overdue = self.known_overdue();
        match read {
            Ok(found) => {
                *overdue = Overdue {
                    found,
                    read_at: Some(Instant::now()),
                };
                Ok(())
            }
            Err(error) if overdue.read_at.is_some_and(|at| at.elapsed() < MAX_AGE) => {
                tracing::warn!(%error, "late endings could not be read");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Notifies of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Notifies of every change of one log.
    pub(crate) fn follow(&self, org_id: OrgId) -> watch::Receiver<()> {
        let mut known = self.known();
        // Those who no longer follow leave an entry behind until the next one comes.
        known
            .followers
            .retain(|_, follower| follower.receiver_count() > 0);
        known.followers.entry(org_id).or_default().subscribe()
    }

    /// Reads all heads every second, for ever, while no other task of this replica does so. Those who follow
    /// one log therefore learn of the commits of other replicas, and only one of them wakes every second.
    pub(crate) async fn keep_reading(&self, db: &Db) -> std::convert::Infallible {
        let _reader = self.reader.lock().await;
        loop {
            // Everyone who follows a log reads the heads before a checkpoint, and ends if that fails.
            if let Err(error) = self.refresh(db).await {
                tracing::debug!(%error, "the heads could not be read");
            }
            tokio::time::sleep(READ_INTERVAL).await;
        }
    }

    /// Returns the known head of an organization.
    pub(crate) fn of(&self, org_id: OrgId) -> Option<LogHead> {
        self.known().heads.get(&org_id).map(|entry| entry.head)
    }

    /// Returns the known epoch.
    pub(crate) fn epoch(&self) -> Option<Uuid> {
        self.known().epoch
    }

    /// Returns at most `limit` heads that changed after the version, the oldest change first.
    pub(crate) fn changes_after(&self, version: u64, limit: usize) -> Changes {
        self.select(version, limit, |_| true)
    }

    /// Returns at most `limit` heads that commits of this replica have moved after the version.
    pub(crate) fn own_after(&self, version: u64, limit: usize) -> Changes {
        self.select(version, limit, |entry| entry.is_own)
    }

    fn select(&self, version: u64, limit: usize, wanted: impl Fn(&Entry) -> bool) -> Changes {
        let known = self.known();
        let mut changes = Changes {
            heads: Vec::new(),
            version: known.version,
        };
        let later = known
            .by_version
            .range((Bound::Excluded(version), Bound::Unbounded));
        for (version, org_id) in later {
            if changes.heads.len() == limit {
                return changes;
            }
            let Some(entry) = known.heads.get(org_id).filter(|entry| wanted(entry)) else {
                continue;
            };
            changes.heads.push((*org_id, entry.head));
            if changes.heads.len() == limit {
                changes.version = *version;
            }
        }
        changes
    }

    /// Reads all heads of the database, unless another caller has done so within the last second. On
    /// PostgreSQL, the database must also have accepted a commit of this replica within the last seconds.
    ///
    /// Callers who wait for a reading that fails get its failure, instead of trying one after another.
    pub(crate) async fn refresh(&self, db: &Db) -> Result<(), StorageError> {
        let requested_at = Instant::now();
        let mut reading = self.reading.lock().await;
        if reading.completed.is_some_and(|at| at.elapsed() < READ_INTERVAL) {
            return Ok(());
        }
        if let Some((at, why)) = &reading.failed
            && *at > requested_at
        {
            return Err(StorageError::Unavailable(why.clone()));
        }
        let read = self.read_all(db, &mut reading).await;
        reading.failed = read
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.to_string()));
        read
    }

    async fn read_all(&self, db: &Db, reading: &mut Reading) -> Result<(), StorageError> {
        if db.is_postgres() && reading.pulsed.is_none_or(|at| at.elapsed() >= PULSE_INTERVAL) {
            let replica_id = *reading.replica_id.get_or_insert_with(|| db.env().ids.uuid());
            pulse(db, replica_id).await?;
            reading.pulsed = Some(Instant::now());
        }
        let version = self.known().version;
        let (epoch, heads) = log::list_heads(db.conn()).await?;
        self.read_overdue(db).await?;
        reading.completed = Some(Instant::now());
        self.replace(version, epoch, heads);
        Ok(())
    }

    /// Notes what a reading that began at a version has found. A head may also be lower than the known one,
    /// after a restore; one that was announced during the reading stays.
    fn replace(&self, began_at: u64, epoch: Uuid, heads: Vec<(OrgId, LogHead)>) {
        let mut known = self.known();
        let before = known.version;
        known.epoch = Some(epoch);
        let mut found = HashSet::with_capacity(heads.len());
        for (org_id, head) in heads {
            found.insert(org_id);
            let is_news = known
                .heads
                .get(&org_id)
                .is_none_or(|entry| entry.version <= began_at && entry.head != head);
            if is_news {
                known.put(org_id, head, false);
            }
        }
        // The restored database has no log of these organizations.
        let lost: Vec<OrgId> = known
            .heads
            .iter()
            .filter(|(org_id, entry)| {
                entry.version <= began_at && entry.head.position > 0 && !found.contains(org_id)
            })
            .map(|(org_id, _)| *org_id)
            .collect();
        for org_id in lost {
            let empty = LogHead {
                epoch,
                position: 0,
                event_id: Uuid::nil(),
            };
            known.put(org_id, empty, false);
        }
        let has_changed = known.version != before;
        drop(known);
        if has_changed {
            self.notify();
        }
    }
}

/// Commits a row of this replica, on PostgreSQL. One statement is a transaction of its own.
async fn pulse(db: &Db, replica_id: Uuid) -> Result<(), StorageError> {
    let sql = "INSERT INTO feed_pulse (replica_id, pulse_time) VALUES ($1, $2) \
               ON CONFLICT (replica_id) DO UPDATE SET pulse_time = excluded.pulse_time";
    let values = [replica_id.into(), db.env().now().into()];
    let statement = Statement::from_sql_and_values(db.backend(), sql, values);
    db.writer().execute_raw(statement).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use parta_ids::TypedId as _;

    use super::*;

    fn org(n: u128) -> OrgId {
        OrgId::from_uuid(Uuid::from_u128(n))
    }

    fn head(position: i64) -> LogHead {
        LogHead {
            epoch: Uuid::from_u128(1),
            position,
            event_id: Uuid::from_u128(u128::try_from(position).unwrap_or_default()),
        }
    }

    #[test]
    fn reader_sees_the_latest_head_of_each_organization() {
        let heads = Heads::default();
        heads.committed(org(1), head(1));
        heads.committed(org(2), head(1));
        heads.committed(org(1), head(2));
        heads.hinted(org(1), head(1));
        let foreign = LogHead {
            epoch: Uuid::from_u128(9),
            ..head(7)
        };
        heads.hinted(org(1), foreign);
        let first = heads.changes_after(0, 1);
        assert_eq!(first.heads, [(org(2), head(1))]);
        let rest = heads.changes_after(first.version, 10);
        assert_eq!(rest.heads, [(org(1), head(2))]);
        assert!(heads.changes_after(rest.version, 10).heads.is_empty());
        assert_eq!(heads.of(org(1)), Some(head(2)));
    }

    #[test]
    fn only_own_commits_are_announced_to_other_replicas() {
        let heads = Heads::default();
        heads.committed(org(1), head(1));
        heads.hinted(org(2), head(1));
        let own = heads.own_after(0, 10);
        assert_eq!(own.heads, [(org(1), head(1))]);
        assert!(heads.own_after(own.version, 10).heads.is_empty());
    }

    #[test]
    fn follower_of_one_log_is_not_notified_of_others() {
        let heads = Heads::default();
        let mut changed = heads.follow(org(1));
        changed.mark_unchanged();
        heads.committed(org(2), head(1));
        assert!(!changed.has_changed().unwrap());
        heads.committed(org(1), head(1));
        assert!(changed.has_changed().unwrap());
        drop(changed);
        let _other = heads.follow(org(2));
        assert_eq!(heads.known().followers.len(), 1, "nobody follows the first log");
    }

    // The clock was fast when the first epoch began, and right when the second one did.
    #[test]
    fn reading_replaces_the_epoch_by_any_other_one() {
        let heads = Heads::default();
        let (earlier, later) = (Uuid::from_u128(9), Uuid::from_u128(2));
        let at = |epoch, position| LogHead {
            epoch,
            ..head(position)
        };
        heads.replace(
            0,
            earlier,
            vec![(org(1), at(earlier, 5)), (org(2), at(earlier, 5))],
        );
        let began_at = heads.known().version;
        heads.replace(
            began_at,
            later,
            vec![(org(1), at(later, 5)), (org(2), at(later, 5))],
        );
        assert_eq!(heads.epoch(), Some(later));
        heads.committed(org(1), at(later, 6));
        heads.hinted(org(2), at(later, 6));
        for n in [1, 2] {
            assert_eq!(heads.of(org(n)), Some(at(later, 6)));
        }
    }

    #[test]
    fn reading_lowers_a_head_but_not_one_announced_meanwhile() {
        let heads = Heads::default();
        heads.committed(org(1), head(5));
        heads.committed(org(2), head(5));
        heads.committed(org(3), head(5));
        let began_at = heads.known().version;
        heads.committed(org(2), head(6));
        heads.replace(
            began_at,
            Uuid::from_u128(1),
            vec![(org(1), head(3)), (org(2), head(5))],
        );
        assert_eq!(heads.of(org(1)), Some(head(3)));
        assert_eq!(heads.of(org(2)), Some(head(6)));
        // A restored database has lost the log.
        assert_eq!(heads.of(org(3)).map(|head| head.position), Some(0));
    }
}
