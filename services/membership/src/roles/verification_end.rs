//! The end of a verification on a day that is announced 30 days before (F7).
use chrono::{Days, NaiveDate};
use parta_access::OrgScope;
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{MemberId, OrgId};
use parta_roster::Role;
use parta_status::invalid;
use serde::{Deserialize, Serialize};

use super::{
    model::VerificationEnd,
    policy,
    steps::{audit, readable},
    storage::{changes, ends},
};
use crate::{
    context::{Context, Decider, Run},
    endings::{self, EndingKind},
    error::Error,
    member_records::{events, lock_to_decide, storage},
};

/// The name of an announced end in refusals.
const KIND: &str = "verification end";
/// The number of days by which an end is announced before.
const NOTICE: Days = Days::new(30);

/// The outcome of an act about an announced end.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Announced {
    member_id: MemberId,
}

impl Stored for Announced {}

/// Announces that the verification of a teacher ends after a day.
#[derive(Debug)]
pub(crate) struct AnnounceVerificationEnd {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    /// The last day of the verification.
    pub(crate) last_date: NaiveDate,
    pub(crate) cause: String,
}

impl Mutation for AnnounceVerificationEnd {
    type Context = Context;
    type Grant = Decider;
    type Outcome = Announced;
    type View = VerificationEnd;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        Ok(context.authorize(tx, caller, self.org_id, policy::verify).await?)
    }

    async fn act(&self, run: Run<'_>, announcer: &Decider) -> Result<Announced, Error> {
        let Run { context, tx, caller } = run;
        announcer.require_second_person(self.member_id)?;
        let zone = endings::time_zone(&context.roster, tx, self.org_id).await?;
        let earliest = endings::local_date(tx.now(), zone) + NOTICE;
        if self.last_date < earliest {
            return Err(invalid("last_date", "must be at least 30 days ahead").into());
        }
        let of = (&announcer.scope, self.member_id);
        let member = lock_to_decide(self, run, of).await?;
        if !member.has(Role::Teacher) {
            return Err(Error::not_a_teacher());
        }
        if !member.teacher_verified {
            return Err(Error::not_verified());
        }
        let end = VerificationEnd {
            member_id: member.id,
            last_date: self.last_date,
            due_time: endings::end_of_day(self.last_date, zone),
            cause: self.cause.clone(),
            announcer_id: announcer.member_id,
            create_time: tx.now(),
        };
        ends::save(tx, &announcer.scope, &end).await?;
        endings::schedule(tx, self.org_id, EndingKind::Verification, member.id, end.due_time).await?;
        audit(tx, caller, self.org_id, member.id).await?;
        Ok(Announced { member_id: member.id })
    }

    async fn view(
        &self,
        run: Run<'_>,
        announcer: &Decider,
        outcome: &Announced,
    ) -> Result<VerificationEnd, Error> {
        let end = ends::find(run.tx, &announcer.scope, outcome.member_id).await?;
        end.ok_or_else(|| Error::unknown(KIND, outcome.member_id))
    }
}

/// Cancels an announced end: the verification lasts.
#[derive(Debug)]
pub(crate) struct CancelVerificationEnd {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
}

impl Mutation for CancelVerificationEnd {
    type Context = Context;
    type Grant = Decider;
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        Ok(context.authorize(tx, caller, self.org_id, policy::verify).await?)
    }

    async fn act(&self, run: Run<'_>, by: &Decider) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        by.require_second_person(self.member_id)?;
        storage::lock(tx, &by.scope, self.member_id).await?;
        // Between the decision and the lock the caller may have lost the role.
        self.authorize(run).await?;
        if !forget_end(tx, &by.scope, self.member_id).await? {
            return Err(Error::unknown(KIND, self.member_id));
        }
        audit(tx, caller, self.org_id, self.member_id).await
    }

    async fn view(&self, _: Run<'_>, _: &Decider, (): &()) -> Result<(), Error> {
        Ok(())
    }
}

/// Lists the announced ends; a teacher gets their own.
#[derive(Debug)]
pub(crate) struct ListVerificationEnds {
    pub(crate) org_id: OrgId,
    pub(crate) page: PageRequest,
}

impl Query for ListVerificationEnds {
    type Context = Context;
    type View = Page<VerificationEnd>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<VerificationEnd>>, Error> {
        let Run { tx, caller, .. } = run;
        let (scope, among) = readable(run, self.org_id).await?;
        let after = self.page.after(tx, caller)?;
        let rows = ends::list(tx, &scope, among, after, self.page.limit()).await?;
        let page = self.page.page(tx, caller, rows, |row| row.member_id);
        Ok(Read::audited(page, self.org_id, "verification-ends"))
    }
}

/// Forgets an announced end, because a decision about the verification was made, or the membership has ended.
/// Returns whether one was announced.
pub(crate) async fn forget_end(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<bool, Error> {
    endings::forget(tx, scope.org_id(), EndingKind::Verification, member).await?;
    Ok(ends::delete(tx, scope, member).await?)
}

/// Ends the verification of a teacher after its last day. Does nothing if the end was canceled.
pub(crate) async fn end_due_verification(tx: &Tx, scope: &OrgScope, id: MemberId) -> Result<(), Error> {
    let member = storage::lock(tx, scope, id).await?;
    let end = ends::find(tx, scope, id).await?;
    let (Some(mut member), Some(end)) = (member, end.filter(|end| end.due_time <= tx.now())) else {
        return Ok(());
    };
    ends::delete(tx, scope, id).await?;
    // The member may have lost the role since, and the badge with it.
    if member.teacher_verified {
        member.teacher_verified = false;
        (member.evidence, member.verifier_id) = (Some(end.cause), Some(end.announcer_id));
        storage::update(tx, scope, &mut member).await?;
        events::changed(tx, &member).await?;
    }
    changes::note_badge_decision(tx, scope, id).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let member_id = MemberId::from_uuid(Uuid::from_u128(1));
        let stored = Announced { member_id }.encode().unwrap();
        assert_eq!(
            stored,
            format!("\u{1}{{\"member_id\":\"{member_id}\"}}").as_bytes()
        );
        assert_eq!(Announced::decode(&stored).unwrap(), Announced { member_id });
    }
}
