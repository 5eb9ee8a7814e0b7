//! The progress that the operator sees.
use std::time::Duration;

use parta_ids::OrgId;

use super::Progress;
use crate::consumer::lag::Lag;

impl Progress {
    /// Returns how long ago the last heartbeat was, and the organizations that are behind.
    pub(crate) fn lags(&self) -> (Option<Duration>, Vec<Lag>) {
        let known = self.read();
        let lags = known.behind.iter().map(|(org_id, behind)| Lag {
            org_id: *org_id,
            events: known.lag(*org_id),
            age: behind.fresh_until.map(|at| at.elapsed()),
            is_quarantined: behind.is_quarantined,
        });
        (known.heartbeat.map(|at| at.elapsed()), lags.collect())
    }

    /// Returns the organizations whose source has not published an ending in time, and how late it is.
    pub(crate) fn overdue_endings(&self) -> Vec<(OrgId, Duration)> {
        let known = self.read();
        let overdue = known.overdue.iter();
        overdue.map(|(org_id, due)| (*org_id, due.elapsed())).collect()
    }
}
