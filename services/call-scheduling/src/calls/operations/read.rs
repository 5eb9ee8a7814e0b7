//! Reading: calls, and the occurrences that concern the caller.
use chrono::{DateTime, Utc};
use parta_access::{Caller, authorize};
use parta_ids::{CallId, OrgId, UnitId};
use parta_proto::parta::call_scheduling::v1 as pb;
use parta_roster::MemberContext;

use crate::{
    calls::{
        grpc::convert,
        model::Call,
        policy,
        storage::{
            calls::{self, Reach},
            occurrences,
        },
    },
    context::App,
    error::Error,
    recurrence::model::Slot,
};

/// Which occurrences are asked for.
pub(crate) struct Window<'a> {
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) show_cancelled: bool,
    pub(crate) page_size: u64,
    pub(crate) page_token: &'a str,
    /// What else the list was asked by; a token of another list is refused.
    pub(crate) filter: String,
}

impl App {
    pub(crate) async fn get(
        &self,
        caller: &Caller,
        org: OrgId,
        id: CallId,
    ) -> Result<pb::GetCallResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let (_, call) = self.seen(self.db.conn(), caller, &facts, id).await?;
        Ok(pb::GetCallResponse {
            call: Some(convert::whole_call(&call)?),
        })
    }

    /// The occurrences of a window that concern the caller by the roster of this moment.
    pub(crate) async fn occurrences(
        &self,
        caller: &Caller,
        org: OrgId,
        window: Window<'_>,
    ) -> Result<pb::ListOccurrencesResponse, Error> {
        let facts = &self.facts(caller, org).await?;
        let scope = &authorize(caller, org, policy::list(facts))?;
        let after =
            self.db
                .decode_page::<(DateTime<Utc>, CallId)>(caller, &window.filter, window.page_token)?;
        let bounds = (window.start, window.end);
        let unit = window.unit_id;
        let (found, cancelled) = self
            .db
            .read(|tx| async move {
                let found = calls::list_in_window(&tx, scope, &reach(facts), unit, bounds).await?;
                // An occurrence that runs when the window begins started at most a day before.
                let bounds = (bounds.0 - chrono::TimeDelta::days(1), bounds.1);
                Ok::<_, Error>((found, occurrences::list_cancelled(&tx, scope, bounds).await?))
            })
            .await?;
        let mut shown: Vec<(Slot, &Call, bool)> = Vec::new();
        for call in found.iter().filter(|c| policy::may_see(facts, c)) {
            for slot in call.schedule.slots()? {
                let off = call.cancel_time.is_some() || cancelled.contains(&(call.id, slot.start));
                let inside = slot.end > window.start && slot.start < window.end;
                let fresh = after.is_none_or(|key| (slot.start, call.id) > key);
                if inside && fresh && (window.show_cancelled || !off) {
                    shown.push((slot, call, off));
                }
            }
        }
        shown.sort_by_key(|(slot, call, _)| (slot.start, call.id));
        let size = usize::try_from(window.page_size).unwrap_or(usize::MAX);
        let more = shown.len() > size;
        shown.truncate(size);
        let next = shown.last().filter(|_| more);
        let next = next.map(|(slot, call, _)| {
            self.db
                .encode_page(caller, &window.filter, &(slot.start, call.id))
        });
        let one = |(slot, call, off): &(Slot, &Call, bool)| {
            convert::occurrence(call, slot, *off, policy::may_join(facts, call))
        };
        Ok(pb::ListOccurrencesResponse {
            occurrences: shown.iter().map(one).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }
}

/// Where calls may stand that concern a member; which of them do is then the policy's matter.
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
