//! Reading calls and the occurrences that the caller may see.
use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use parta_access::authorize;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{CallId, OrgId, UnitId};
use parta_roster::{DutyFunction, MemberContext};

use super::{
    super::{
        model::{Call, CallView, OccurrenceView},
        policy,
        storage::{
            calls::{self, VisibleCalls},
            occurrences,
        },
    },
    load_named, load_visible,
};
use crate::{
    context::{Context, Run},
    error::Error,
};

#[derive(Debug)]
pub(crate) struct GetCall {
    pub(crate) org_id: OrgId,
    pub(crate) call_id: CallId,
}

impl Query for GetCall {
    type Context = Context;
    type View = CallView;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<CallView>, Error> {
        let granted = load_visible(run, self.org_id, self.call_id).await?;
        let (facts, mut call) = (granted.facts, granted.call);
        let named = call.draft.participants.iter().copied();
        let shown = named.filter(|participant| policy::shows_participant(&facts, &call, *participant));
        call.draft.participants = shown.collect();
        Ok(Read::plain(CallView::of(call)?))
    }
}

/// Lists the occurrences of a time window that the caller may see, by start time.
#[derive(Debug)]
pub(crate) struct ListOccurrences {
    pub(crate) org_id: OrgId,
    /// Occurrences that end after this time.
    pub(crate) window_start: DateTime<Utc>,
    /// Occurrences that start before this time.
    pub(crate) window_end: DateTime<Utc>,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) show_canceled: bool,
    pub(crate) page: PageRequest,
}

impl Query for ListOccurrences {
    type Context = Context;
    type View = Page<OccurrenceView>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<OccurrenceView>>, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::list(&facts))?;
        let after: Option<(DateTime<Utc>, CallId)> = self.page.after(tx, caller)?;
        let (start, end) = (self.window_start, self.window_end);
        let found =
            calls::list_in_window(tx, &scope, &visible_calls(&facts), self.unit_id, (start, end)).await?;
        // An occurrence lasts less than a day, so one that is running when the window begins started after
        // this time.
        let earliest = start - TimeDelta::days(1);
        let canceled = occurrences::list_canceled(tx, &scope, (earliest, end)).await?;
        let participants: BTreeSet<_> = found.iter().flat_map(|call| &call.draft.participants).collect();
        let participants: Vec<_> = participants.into_iter().copied().collect();
        let people = load_named(context, tx, &facts, &participants).await?;
        let named_in = |call: &Call| {
            let is_named = |facts: &&MemberContext| call.draft.participants.contains(&facts.member_id);
            people.iter().filter(is_named).cloned().collect::<Vec<_>>()
        };
        let mut shown = Vec::new();
        for call in &found {
            if !policy::may_see(&facts, call, &named_in(call)) {
                continue;
            }
            for slot in call.schedule.slots()? {
                let is_canceled =
                    call.is_canceled_at(slot.start) || canceled.contains(&(call.id, slot.start));
                let is_in_window = slot.end > start && slot.start < end;
                let is_after_cursor = after.is_none_or(|key| (slot.start, call.id) > key);
                if is_in_window && is_after_cursor && (self.show_canceled || !is_canceled) {
                    shown.push((slot, call, is_canceled));
                }
            }
        }
        shown.sort_by_key(|(slot, call, _)| (slot.start, call.id));
        shown.truncate(usize::try_from(self.page.limit()).unwrap_or(usize::MAX));
        let shown = shown.into_iter().map(|(slot, call, canceled)| OccurrenceView {
            call: call.clone(),
            slot,
            canceled,
            may_join: policy::may_join(&facts, call, &named_in(call)),
        });
        let page = self.page.page(tx, caller, shown.collect(), |shown| {
            (shown.slot.start, shown.call.id)
        });
        Ok(Read::plain(page))
    }
}

/// Returns the calls that a member may be able to see. The policy decides about each of them.
fn visible_calls(facts: &MemberContext) -> VisibleCalls {
    // The units of the pupils whom a duty names are not among the facts.
    if facts.is_administration() || facts.has_function(DutyFunction::Rooms) {
        return VisibleCalls::All;
    }
    VisibleCalls::Units {
        units: facts.units(),
        organizer: facts.member_id,
        staff: facts.is_staff(),
    }
}
