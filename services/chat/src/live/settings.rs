use std::time::Duration;

use parta_database::Db;
use parta_roster::Roster;
use tokio::sync::Semaphore;

use super::Live;

/// The dependencies and settings of every subscription.
pub(crate) struct Settings {
    pub(crate) db: Db,
    pub(crate) live: Live,
    pub(crate) roster: Roster,
    pub(crate) heartbeat: Duration,
    /// Limits the streams that read missed entries at the same time, so that other calls get connections of
    /// the pool, and streams wait here without a time limit.
    pub(crate) replays: Semaphore,
}

/// The number of permits of [`Settings::replays`].
pub(crate) const REPLAYS_MAX: usize = 4;
