//! Reading calls, and the occurrences that concern the caller.
use chrono::{DateTime, TimeDelta, Utc};
use parta_access::{Caller, authorize};
use parta_database::Tx;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{CallId, OrgId, UnitId};
use parta_roster::MemberContext;

use super::{
    super::{
        model::{ShownCall, ShownOccurrence},
        policy,
        storage::{
            calls::{self, Reach},
            occurrences,
        },
    },
    seen,
};
use crate::{context::Context, error::Error};

/// Returns one call.
#[derive(Debug)]
pub(crate) struct GetCall {
    pub(crate) org_id: OrgId,
    pub(crate) call_id: CallId,
}

impl Query for GetCall {
    type Context = Context;
    type View = ShownCall;
    type Error = Error;

    async fn run(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<Read<ShownCall>, Error> {
        let granted = seen(context, tx, caller, self.org_id, self.call_id).await?;
        Ok(Read::plain(ShownCall::of(granted.call)?))
    }
}

/// Lists the occurrences of a window that concern the caller, by start.
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
    type View = Page<ShownOccurrence>;
    type Error = Error;

    async fn run(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<Read<Page<ShownOccurrence>>, Error> {
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::list(&facts))?;
        let after: Option<(DateTime<Utc>, CallId)> = self.page.after(tx, caller)?;
        let (start, end) = (self.window_start, self.window_end);
        let found = calls::list_in_window(tx, &scope, &reach(&facts), self.unit_id, (start, end)).await?;
        // An occurrence lasts less than a day, so one that runs when the window begins started after this.
        let earliest = start - TimeDelta::days(1);
        let canceled = occurrences::list_canceled(tx, &scope, (earliest, end)).await?;
        let mut shown = Vec::new();
        for call in found.iter().filter(|call| policy::may_see(&facts, call)) {
            for slot in call.schedule.slots()? {
                let off = call.cancel_time.is_some() || canceled.contains(&(call.id, slot.start));
                let inside = slot.end > start && slot.start < end;
                let follows = after.is_none_or(|key| (slot.start, call.id) > key);
                if inside && follows && (self.show_canceled || !off) {
                    shown.push((slot, call, off));
                }
            }
        }
        shown.sort_by_key(|(slot, call, _)| (slot.start, call.id));
        shown.truncate(usize::try_from(self.page.limit()).unwrap_or(usize::MAX));
        let shown = shown.into_iter().map(|(slot, call, canceled)| ShownOccurrence {
            call: call.clone(),
            slot,
            canceled,
            may_join: policy::may_join(&facts, call),
        });
        let page = self.page.page(tx, caller, shown.collect(), |shown| {
            (shown.slot.start, shown.call.id)
        });
        Ok(Read::plain(page))
    }
}

/// The calls that may concern a member; the policy decides which of them do.
fn reach(facts: &MemberContext) -> Reach {
    if facts.is_administration() {
        return Reach::Everything;
    }
    Reach::Units {
        units: facts.units(),
        organizer: facts.member_id,
        staff: facts.is_staff(),
    }
}
