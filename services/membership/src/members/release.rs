//! The release of a record that the wrong person claimed (F10).
use std::collections::BTreeSet;

use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{MemberId, OrgId};
use parta_mutations::check_etag;
use parta_roster::{MemberContext, Role, State};
use serde::{Deserialize, Serialize};

use super::policy;
use crate::{
    context::{Context, Run},
    duties,
    error::Error,
    guardianships, join_requests,
    member_records::{self, Member, MemberView, events, releases, storage},
    roles, suspensions,
};

/// The outcome of ReleaseProfile.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Released {
    member_id: MemberId,
}

impl Stored for Released {}

/// The proof that the caller may release the record.
pub(crate) struct MayRelease {
    scope: OrgScope,
    own: MemberId,
}

/// Takes the record of an expected member back from the account that claimed it.
#[derive(Debug)]
pub(crate) struct ReleaseProfile {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    /// The etag that the caller read; empty to release whatever is stored.
    pub(crate) etag: String,
}

impl ReleaseProfile {
    /// Ends what the person brought to the record, and expects the member again.
    async fn release(tx: &Tx, scope: &OrgScope, member: &mut Member) -> Result<(), Error> {
        let (Some(claim), Some(account)) = (member.claim.take(), member.account_id.take()) else {
            return Err(Error::profile_not_releasable());
        };
        let kept: BTreeSet<Role> = claim.roles.intersection(&member.roles).copied().collect();
        if kept.is_empty() {
            return Err(Error::profile_not_releasable());
        }
        let lost: BTreeSet<Role> = member.roles.difference(&kept).copied().collect();
        roles::end_what_hangs_on(tx, scope, member.id, &lost).await?;
        if !kept.iter().any(|role| role.is_staff()) {
            duties::end_all_of(tx, scope, member.id).await?;
        }
        guardianships::end_begun_since(tx, scope, member.id, claim.claim_time).await?;
        join_requests::forget(tx, scope, account, member.id).await?;
        roles::forget_request(tx, scope, member.id).await?;
        roles::forget_end(tx, scope, member.id).await?;
        roles::close_changes(tx, scope, member.id).await?;
        releases::upsert(tx, scope, member.id, account, tx.database_now().await?).await?;
        member.roles = kept;
        member.teacher_verified = false;
        (member.evidence, member.verifier_id, member.invitation_id) = (None, None, None);
        member.state = State::Expected;
        member.release_count += 1;
        storage::update(tx, scope, member).await?;
        events::changed(tx, member).await
    }
}

impl Mutation for ReleaseProfile {
    type Context = Context;
    type Grant = MayRelease;
    type Outcome = Released;
    type View = MemberView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayRelease, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        // Whether there is such a member is for the administration to know.
        let nobody = || MemberContext::new(self.org_id, self.member_id, State::Left, []);
        let member = context.contexts_of(tx, self.org_id, self.member_id).await?;
        let member = member.unwrap_or_else(nobody);
        let home = context
            .roster
            .home_units(tx, self.org_id, &member.enrolled_in)
            .await?;
        let scope = authorize(caller, self.org_id, policy::release(&facts, &member, &home))?;
        let own = facts.member_id;
        if own == self.member_id || guardianships::are_family(tx, &scope, own, self.member_id).await? {
            return Err(Error::second_person_required());
        }
        Ok(MayRelease { scope, own })
    }

    async fn act(&self, run: Run<'_>, grant: &MayRelease) -> Result<Released, Error> {
        let Run { tx, caller, .. } = run;
        let scope = &grant.scope;
        // Both rows, in the order of their ids, so that the caller does not lose the right meanwhile.
        storage::lock_all(tx, scope, [grant.own, self.member_id]).await?;
        let mut member = member_records::lock_present(tx, scope, self.member_id).await?;
        self.authorize(run).await?;
        check_etag(&self.etag, member.revision)?;
        // A release would free a suspended person of the suspension.
        let absent = suspensions::absent(tx, scope, std::slice::from_ref(&member)).await?;
        if !absent.is_empty() {
            return Err(Error::profile_not_releasable());
        }
        // The last administrator is not released: only another administrator could do it.
        Self::release(tx, scope, &mut member).await?;
        parta_audit::record_within(tx, caller, self.org_id, format!("members/{}", self.member_id)).await?;
        Ok(Released { member_id: member.id })
    }

    async fn view(&self, run: Run<'_>, grant: &MayRelease, outcome: &Released) -> Result<MemberView, Error> {
        roles::load(run.tx, &grant.scope, outcome.member_id).await
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let released = Released {
            member_id: MemberId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"member_id\":\"{}\"}}", released.member_id);
        let stored = released.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Released::decode(&stored).unwrap(), released);
    }
}
