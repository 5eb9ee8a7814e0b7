use parta_access::{OrgScope, authorize, belongs};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{MemberId, OrgId};
use parta_mutations::check_etag;
use parta_roster::{MemberContext, Role, State};
use serde::{Deserialize, Serialize};

use super::policy;
use crate::{
    acting_heads, assignments,
    context::{Context, Run},
    duties, enrollments,
    error::Error,
    guardianships::{self, Side},
    member_records::{self, LeaveReason, Member, MemberView, events, storage},
    roles, suspensions,
};

/// The outcome of RemoveMember.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Removed {
    member_id: MemberId,
}

impl Stored for Removed {}

/// The proof that the caller may remove members.
pub(crate) struct MayRemove {
    scope: OrgScope,
    /// Whether the head removes an administrator for a stated reason.
    by_head: bool,
}

/// Removes a member from the organization.
#[derive(Debug)]
pub(crate) struct RemoveMember {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    /// The etag that the caller read; empty to remove whatever is stored.
    pub(crate) etag: String,
    /// The reason why the member is removed. The head has to state it to remove an administrator, for
    /// each reason.
    pub(crate) cause: Option<String>,
    /// Never the source: only an import removes for it.
    pub(crate) reason: LeaveReason,
}

impl RemoveMember {
    async fn target(&self, context: &Context, tx: &Tx) -> Result<MemberContext, Error> {
        let target = context.contexts_of(tx, self.org_id, self.member_id).await?;
        target.ok_or_else(|| Error::unknown("member", self.member_id))
    }
}

impl Mutation for RemoveMember {
    type Context = Context;
    type Grant = MayRemove;
    type Outcome = Removed;
    type View = MemberView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayRemove, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        // Whether there is such a member is for those to know who may remove one.
        authorize(caller, self.org_id, member_records::manage(&facts))?;
        let target = self.target(context, tx).await?;
        let has_cause = self.cause.is_some();
        let scope = authorize(caller, self.org_id, policy::remove(&facts, &target, has_cause))?;
        let by_head = policy::stops_administrator(&facts, &target, has_cause);
        Ok(MayRemove { scope, by_head })
    }

    async fn act(&self, run: Run<'_>, grant: &MayRemove) -> Result<Removed, Error> {
        let Run { tx, caller, .. } = run;
        let scope = &grant.scope;
        let administrators = storage::lock_administrators(tx, scope).await?;
        let mut member = member_records::lock_present(tx, scope, self.member_id).await?;
        check_etag(&self.etag, member.revision)?;
        // Between the decision and the lock the member may have become an administrator, and the caller may
        // have lost the role.
        let by_head = self.authorize(run).await?.by_head;
        // The head stops also the last administrator, for a stated reason (F5).
        if member.has(Role::Administrator) && !by_head {
            let administrators =
                suspensions::in_force(tx, scope, administrators, Role::Administrator).await?;
            roles::keep_an_administrator(&administrators, &member)?;
        }
        if self.cause.is_some() {
            member.leave_cause.clone_from(&self.cause);
        }
        if self.reason == LeaveReason::Graduated && !member.has(Role::Pupil) {
            return Err(Error::not_a_pupil());
        }
        end_membership(tx, scope, &mut member, self.reason).await?;
        parta_audit::record_within(tx, caller, member.org_id, format!("members/{}", member.id)).await?;
        Ok(Removed { member_id: member.id })
    }

    async fn view(&self, run: Run<'_>, grant: &MayRemove, outcome: &Removed) -> Result<MemberView, Error> {
        roles::load(run.tx, &grant.scope, outcome.member_id).await
    }

    /// A member who removed their own record still gets the result: the act took the right away.
    async fn regrant(&self, run: Run<'_>, outcome: &Removed) -> Result<MayRemove, Error> {
        if run.caller.person() != Some((self.org_id, outcome.member_id)) {
            return self.authorize(run).await;
        }
        Ok(MayRemove {
            scope: belongs(run.caller, self.org_id)?,
            by_head: false,
        })
    }
}

/// Ends everything that a locked member is in the organization.
pub(crate) async fn end_membership(
    tx: &Tx,
    scope: &OrgScope,
    member: &mut Member,
    reason: LeaveReason,
) -> Result<(), Error> {
    assignments::end_all_of(tx, scope, member.id).await?;
    enrollments::end_all_of(tx, scope, member.id).await?;
    guardianships::end_all_of(tx, scope, member.id, Side::Guardian).await?;
    guardianships::end_all_of(tx, scope, member.id, Side::Child).await?;
    duties::end_all_of(tx, scope, member.id).await?;
    acting_heads::end_all_of(tx, scope, member.id).await?;
    roles::forget_request(tx, scope, member.id).await?;
    roles::forget_end(tx, scope, member.id).await?;
    roles::close_changes(tx, scope, member.id).await?;
    member.state = State::Left;
    member.teacher_verified = false;
    (member.leave_time, member.leave_reason) = (Some(tx.now()), Some(reason));
    storage::update(tx, scope, member).await?;
    events::changed(tx, member).await
}
