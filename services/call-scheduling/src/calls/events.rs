//! Events of calls in the service's feed, and the changes of the roster that cancel calls.
use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_feed::{Freshness, HandleError, append_event};
use parta_ids::{CallId, OrgId, UnitId};
use parta_proto::timestamp;
use parta_proto_call_scheduling::v1::{
    CallCanceled, CallPlanned, OccurrenceCanceled, call_scheduling_event::Payload,
};
use parta_roster::{Change, Roster, RosterObserver};

use super::{
    model::CallView,
    operations::cancel_calls_of_unit,
    storage::{calls, occurrences},
};

fn planning(id: CallId, unit: UnitId, start: DateTime<Utc>) -> Payload {
    Payload::CallPlanned(CallPlanned {
        call_id: id.to_string(),
        unit_id: unit.to_string(),
        start_time: Some(timestamp(start)),
    })
}

fn cancellation(id: CallId) -> Payload {
    Payload::CallCanceled(CallCanceled {
        call_id: id.to_string(),
    })
}

fn occurrence_cancellation(id: CallId, start: DateTime<Utc>) -> Payload {
    Payload::OccurrenceCanceled(OccurrenceCanceled {
        call_id: id.to_string(),
        start_time: Some(timestamp(start)),
    })
}

pub(super) fn planned(tx: &Tx, shown: &CallView) {
    let draft = &shown.call.draft;
    append_event(
        tx,
        draft.org_id,
        planning(shown.call.id, draft.unit_id, shown.start_time),
    );
}

pub(super) fn canceled(tx: &Tx, org: OrgId, id: CallId) {
    append_event(tx, org, cancellation(id));
}

pub(super) fn occurrence_canceled(tx: &Tx, org: OrgId, id: CallId, start: DateTime<Utc>) {
    append_event(tx, org, occurrence_cancellation(id, start));
}

/// Returns the events that build the current calls from an empty state.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let mut events = Vec::new();
    for call in calls::list_for_snapshot(tx, org).await? {
        let planned = planning(call.call_id, call.unit_id, call.start_time);
        events.push(planned);
        if call.canceled {
            events.push(cancellation(call.call_id));
        }
    }
    for (id, start) in occurrences::list_for_snapshot(tx, org).await? {
        events.push(occurrence_cancellation(id, start));
    }
    Ok(events)
}

/// Cancels the future calls of a unit in the transaction that applies its archiving (F17).
pub(crate) struct ArchivedUnits {
    /// Read in that transaction, so its freshness is not checked.
    roster: Roster,
}

impl ArchivedUnits {
    pub(crate) fn new() -> Self {
        let fresh = Freshness::always;
        Self {
            roster: Roster::new(fresh("org-registry"), fresh("membership")),
        }
    }
}

#[async_trait]
impl RosterObserver for ArchivedUnits {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        let archived = changes.iter().filter_map(|change| match change {
            Change::UnitArchived(unit) => Some(*unit),
            _ => None,
        });
        let mut archived: BTreeSet<UnitId> = archived.collect();
        if changes.contains(&Change::Resynced) {
            let units = self.roster.units(tx, org).await?.into_iter();
            archived.extend(units.filter(|unit| unit.archived).map(|unit| unit.unit_id));
        }
        let scope = OrgScope::for_consumer("call_scheduling.roster", org);
        for unit in archived {
            cancel_calls_of_unit(tx, &scope, unit).await?;
        }
        Ok(())
    }
}
