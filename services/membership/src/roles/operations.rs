use std::collections::BTreeSet;

use parta_access::{Caller, OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{MemberId, OrgId};
use parta_mutations::check_etag;
use parta_roster::{Role, State};
use serde::{Deserialize, Serialize};

use super::policy;
use crate::{
    context::Context,
    duties, enrollments,
    error::Error,
    member_records::{Member, MemberView, events, storage},
    suspensions,
};

/// The outcome of a change of a member.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changed {
    member_id: MemberId,
}

impl Stored for Changed {}

/// Replaces the roles of a member.
#[derive(Debug)]
pub(crate) struct ChangeRoles {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) roles: BTreeSet<Role>,
    /// The etag that the caller read; empty to change whatever is stored.
    pub(crate) etag: String,
}

impl Mutation for ChangeRoles {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Changed;
    type View = MemberView;
    type Error = Error;

    async fn authorize(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<OrgScope, Error> {
        let facts = context.facts(tx, caller, self.org_id).await?;
        Ok(authorize(caller, self.org_id, policy::administer(&facts))?)
    }

    async fn act(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
        scope: &OrgScope,
    ) -> Result<Changed, Error> {
        let administrators = storage::lock_administrators(tx, scope).await?;
        // Between the decision and the lock the caller may have lost the role.
        self.authorize(context, tx, caller).await?;
        let mut member = present(tx, scope, self.member_id).await?;
        check_etag(&self.etag, member.revision)?;
        let (had, has) = (
            member.has(Role::Administrator),
            self.roles.contains(&Role::Administrator),
        );
        if has && !had {
            let staff = |role: &Role| !matches!(role, Role::Pupil | Role::Parent);
            if member.state != State::Active || !member.roles.iter().any(staff) {
                return Err(Error::administrator_not_joined());
            }
        }
        if had && !has {
            let administrators =
                suspensions::in_force(tx, scope, administrators, Role::Administrator).await?;
            keep_an_administrator(&administrators, &member)?;
        }
        member.roles.clone_from(&self.roles);
        // The verification belongs to the role of teacher.
        member.teacher_verified &= member.has(Role::Teacher);
        if !member
            .roles
            .iter()
            .any(|role| !matches!(role, Role::Pupil | Role::Parent))
        {
            duties::end_all_of(tx, scope, member.id).await?;
        }
        save(tx, caller, scope, member).await
    }

    async fn view(
        &self,
        _: &Context,
        tx: &Tx,
        scope: &OrgScope,
        outcome: &Changed,
    ) -> Result<MemberView, Error> {
        load(tx, scope, outcome.member_id).await
    }

    /// An administrator who gave the own role away still gets the answer, while a member of the organization.
    async fn regrant(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
        outcome: &Changed,
    ) -> Result<OrgScope, Error> {
        let facts = context.facts(tx, caller, self.org_id).await?;
        let decision = policy::learn_change(&facts, outcome.member_id);
        Ok(authorize(caller, self.org_id, decision)?)
    }
}

/// Verifies a teacher, or withdraws the verification. The ground is kept with the deciding member.
#[derive(Debug)]
pub(crate) struct SetVerification {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) verified: bool,
    pub(crate) ground: String,
}

impl Mutation for SetVerification {
    type Context = Context;
    type Grant = (OrgScope, MemberId);
    type Outcome = Changed;
    type View = MemberView;
    type Error = Error;

    async fn authorize(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<(OrgScope, MemberId), Error> {
        let facts = context.facts(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::verify(&facts))?;
        Ok((scope, facts.member_id))
    }

    async fn act(
        &self,
        _: &Context,
        tx: &Tx,
        caller: &Caller,
        (scope, verifier): &(OrgScope, MemberId),
    ) -> Result<Changed, Error> {
        let mut member = present(tx, scope, self.member_id).await?;
        if !member.has(Role::Teacher) {
            return Err(Error::not_a_teacher());
        }
        member.teacher_verified = self.verified;
        member.evidence = Some(self.ground.clone());
        member.verifier_id = Some(*verifier);
        save(tx, caller, scope, member).await
    }

    async fn view(
        &self,
        _: &Context,
        tx: &Tx,
        (scope, _): &(OrgScope, MemberId),
        outcome: &Changed,
    ) -> Result<MemberView, Error> {
        load(tx, scope, outcome.member_id).await
    }
}

/// Locks a member who has not left.
pub(crate) async fn present(tx: &Tx, scope: &OrgScope, id: MemberId) -> Result<Member, Error> {
    let member = storage::lock(tx, scope, id).await?;
    let member = member.ok_or_else(|| Error::unknown("member", id))?;
    if member.state == State::Left {
        return Err(Error::member_left());
    }
    Ok(member)
}

/// Refuses to take the last administrator of an organization. `administrators` are all active ones, locked.
pub(crate) fn keep_an_administrator(administrators: &[Member], leaving: &Member) -> Result<(), Error> {
    let another = administrators.iter().any(|member| member.id != leaving.id);
    if another || leaving.state != State::Active {
        Ok(())
    } else {
        Err(Error::last_administrator())
    }
}

async fn save(tx: &Tx, caller: &Caller, scope: &OrgScope, mut member: Member) -> Result<Changed, Error> {
    storage::update(tx, scope, &mut member).await?;
    events::changed(tx, &member).await?;
    let object = format!("organizations/{}/members/{}", member.org_id, member.id);
    parta_audit::record(tx, caller, Some(member.org_id), object).await?;
    Ok(Changed { member_id: member.id })
}

/// Loads a member, also one who has left, with the units in which the member is enrolled.
pub(crate) async fn load(tx: &Tx, scope: &OrgScope, id: MemberId) -> Result<MemberView, Error> {
    let member = storage::find(tx, scope, id).await?;
    let member = member.ok_or_else(|| Error::unknown("member", id))?;
    let mut units = enrollments::units_of(tx, scope, &[id]).await?;
    let absent = suspensions::absent(tx, scope, std::slice::from_ref(&member)).await?;
    Ok(MemberView {
        absent: absent.contains(&id),
        member,
        units: units.remove(&id).unwrap_or_default(),
    })
}
