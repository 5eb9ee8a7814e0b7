use std::collections::BTreeSet;

use parta_access::{OrgScope, belongs};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{MemberId, OrgId, RoleChangeId};
use parta_mutations::check_etag;
use parta_roster::{MemberContext, Role, State};
use parta_status::RpcError;
use serde::{Deserialize, Serialize};

use super::{
    model::RoleChange,
    policy,
    preview::{Preview, preview},
    steps::{Changed, decide, load, save},
    storage::changes,
    verification::forget_request,
    verification_end::forget_end,
};
use crate::{
    acting_heads, assignments,
    context::{Context, Run},
    duties, enrollments,
    error::Error,
    guardianships::{self, Side},
    member_records::{self, Member, MemberView, events, storage},
    suspensions,
};

/// The outcome of ChangeMemberRoles.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RolesChanged {
    member_id: MemberId,
    /// `None` if the member lost no role.
    role_change_id: Option<RoleChangeId>,
}

impl Stored for RolesChanged {}

/// Replaces the roles of a member.
#[derive(Debug)]
pub(crate) struct ChangeRoles {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) roles: BTreeSet<Role>,
    /// The etag that the caller read; empty to change whatever is stored.
    pub(crate) etag: String,
    /// The etag of the preview; empty if there was none.
    pub(crate) preview_etag: String,
}

impl ChangeRoles {
    async fn decide(&self, run: Run<'_>, facts: &MemberContext) -> Result<OrgScope, RpcError> {
        decide(run, facts, (self.org_id, self.member_id)).await
    }

    /// Refuses if the change would end something else than the preview showed. A change by which the member
    /// loses no role needs no preview.
    fn check_preview(&self, preview: &Preview) -> Result<(), Error> {
        let is_needed = !preview.lost.is_empty() || !self.preview_etag.is_empty();
        if is_needed && self.preview_etag != preview.etag {
            return Err(Error::role_preview_stale());
        }
        Ok(())
    }
}

impl Mutation for ChangeRoles {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = RolesChanged;
    type View = (MemberView, Option<RoleChangeId>);
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        Ok(self.decide(run, &facts).await?)
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<RolesChanged, Error> {
        let Run { context, tx, caller } = run;
        let administrators = storage::lock_administrators(tx, scope).await?;
        // Between the decision and the lock the caller may have lost the role.
        let facts = context.facts(tx, caller, self.org_id).await?;
        self.decide(run, &facts).await?;
        let mut member = member_records::lock_present(tx, scope, self.member_id).await?;
        check_etag(&self.etag, member.revision)?;
        let preview = preview(tx, scope, &member, &self.roles).await?;
        policy::change(&facts, self.member_id, &preview.added, &preview.lost)?;
        if !preview.added.is_empty() {
            require_combination(context, tx, scope, &self.roles, &member).await?;
        }
        let (had, has) = (
            member.has(Role::Administrator),
            self.roles.contains(&Role::Administrator),
        );
        let works = member.state == State::Active && member.roles.iter().any(|role| role.is_staff());
        if has && !had && !works {
            return Err(Error::administrator_not_joined());
        }
        if had && !has {
            let administrators =
                suspensions::in_force(tx, scope, administrators, Role::Administrator).await?;
            keep_an_administrator(&administrators, &member)?;
        }
        self.check_preview(&preview)?;
        let Preview {
            added, lost, ending, ..
        } = preview;
        lose(tx, scope, &mut member, &lost).await?;
        member.revoked_roles.retain(|role| !added.contains(role));
        member.roles.extend(added);
        if !member.roles.iter().any(|role| role.is_staff()) {
            duties::end_all_of(tx, scope, member.id).await?;
        }
        let change = (!lost.is_empty()).then(|| RoleChange {
            org_id: self.org_id,
            id: tx.env().id(),
            member_id: member.id,
            lost,
            ended: ending,
            badge_decided: false,
            // The revision that the member has after `save`.
            revision: member.revision + 1,
            author_id: facts.member_id,
            create_time: tx.now(),
            close_time: None,
            undoer_id: None,
        });
        if let Some(change) = &change {
            changes::insert(tx, scope, change).await?;
        }
        let Changed { member_id } = save(tx, caller, scope, member).await?;
        Ok(RolesChanged {
            member_id,
            role_change_id: change.map(|change| change.id),
        })
    }

    async fn view(
        &self,
        run: Run<'_>,
        scope: &OrgScope,
        outcome: &RolesChanged,
    ) -> Result<(MemberView, Option<RoleChangeId>), Error> {
        let member = load(run.tx, scope, outcome.member_id).await?;
        Ok((member, outcome.role_change_id))
    }

    /// An administrator who gave their own role away still gets the result, while a member of the
    /// organization.
    async fn regrant(&self, run: Run<'_>, outcome: &RolesChanged) -> Result<OrgScope, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        if facts.member_id == outcome.member_id {
            return Ok(belongs(caller, self.org_id)?);
        }
        Ok(self.decide(run, &facts).await?)
    }
}

/// Refuses roles that one person does not hold together, and a second head (F7).
async fn require_combination(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    roles: &BTreeSet<Role>,
    member: &Member,
) -> Result<(), Error> {
    if fit(context, tx, scope, roles, member).await? {
        Ok(())
    } else {
        Err(Error::role_combination())
    }
}

/// Whether the member may hold these roles together, and the organization has one head then (F7).
pub(super) async fn fit(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    roles: &BTreeSet<Role>,
    member: &Member,
) -> Result<bool, Error> {
    let adult_student = guardianships::is_of_age(&context.roster, tx, scope, member.id).await?;
    if !member_records::may_combine(roles, adult_student) {
        return Ok(false);
    }
    if !roles.contains(&Role::Head) || member.has(Role::Head) {
        return Ok(true);
    }
    let heads = storage::Filter {
        role: Some(Role::Head),
        ..Default::default()
    };
    Ok(storage::list(tx, scope, &heads, None, 1).await?.is_empty())
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

/// Takes roles from a locked member, which the caller saves.
async fn lose(tx: &Tx, scope: &OrgScope, member: &mut Member, lost: &BTreeSet<Role>) -> Result<(), Error> {
    member.revoked_roles.extend(lost);
    member.roles.retain(|role| !lost.contains(role));
    // The verification belongs to the role of teacher.
    member.teacher_verified &= member.has(Role::Teacher);
    end_what_hangs_on(tx, scope, member.id, lost).await
}

/// Takes roles again that a member had lost before the database was restored. Returns whether all are gone:
/// the last administrator of an organization keeps that role.
pub(crate) async fn lose_again(
    tx: &Tx,
    scope: &OrgScope,
    id: MemberId,
    lost: &BTreeSet<Role>,
) -> Result<bool, Error> {
    let administrators = storage::lock_administrators(tx, scope).await?;
    let member = storage::lock(tx, scope, id).await?;
    let Some(mut member) = member.filter(|member| member.state != State::Left) else {
        return Ok(true);
    };
    // The projection of an acting head has the role of the head.
    if lost.contains(&Role::Head) {
        acting_heads::end_all_of(tx, scope, id).await?;
    }
    let mut lost: BTreeSet<Role> = lost.intersection(&member.roles).copied().collect();
    let keeps =
        lost.contains(&Role::Administrator) && keep_an_administrator(&administrators, &member).is_err();
    if keeps {
        lost.remove(&Role::Administrator);
    }
    if !lost.is_empty() {
        lose(tx, scope, &mut member, &lost).await?;
        if !member.roles.iter().any(|role| role.is_staff()) {
            duties::end_all_of(tx, scope, id).await?;
        }
        close_changes(tx, scope, id).await?;
        storage::update(tx, scope, &mut member).await?;
        events::changed(tx, &member).await?;
    }
    Ok(!keeps)
}

/// Takes the badge again that a teacher had lost before the database was restored.
pub(crate) async fn withdraw_again(
    tx: &Tx,
    scope: &OrgScope,
    id: MemberId,
    cause: &str,
) -> Result<(), Error> {
    let member = storage::lock(tx, scope, id).await?;
    if let Some(mut member) = member.filter(|member| member.teacher_verified) {
        member.teacher_verified = false;
        (member.evidence, member.verifier_id) = (Some(cause.to_owned()), None);
        changes::note_badge_decision(tx, scope, id).await?;
        forget_end(tx, scope, id).await?;
        storage::update(tx, scope, &mut member).await?;
        events::changed(tx, &member).await?;
    }
    Ok(())
}

/// Closes the changes of the roles of a locked member: none of them can be undone any longer, because the
/// membership in which they were made has ended. The undo of a change of another member gives no relation to
/// the member back, and no duty that names the member: the record may belong to another person by then.
pub(crate) async fn close_changes(tx: &Tx, scope: &OrgScope, member: MemberId) -> Result<(), Error> {
    changes::close_all_of(tx, scope, member, tx.now()).await?;
    let relations = guardianships::all_of(tx, scope, member).await?;
    let duties = duties::naming(tx, scope, member).await?;
    changes::forget_facts(tx, scope, &relations, &duties).await?;
    Ok(())
}

/// Ends the facts that rest on roles which a member loses (F2). Nothing of it comes back with the
/// role.
pub(crate) async fn end_what_hangs_on(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
    lost: &BTreeSet<Role>,
) -> Result<(), Error> {
    for role in lost {
        match role {
            Role::Teacher => {
                assignments::end_all_of(tx, scope, member).await?;
                forget_request(tx, scope, member).await?;
            }
            Role::Pupil => {
                enrollments::end_all_of(tx, scope, member).await?;
                guardianships::end_all_of(tx, scope, member, Side::Child).await?;
            }
            Role::Parent => guardianships::end_all_of(tx, scope, member, Side::Guardian).await?,
            Role::Deputy => acting_heads::end_all_of(tx, scope, member).await?,
            Role::Staff | Role::Administrator | Role::Head => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let member_id = MemberId::from_uuid(Uuid::from_u128(1));
        let change = RoleChangeId::from_uuid(Uuid::from_u128(2));
        let changed = RolesChanged {
            member_id,
            role_change_id: Some(change),
        };
        let form = format!("\u{1}{{\"member_id\":\"{member_id}\",\"role_change_id\":\"{change}\"}}");
        let stored = changed.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(RolesChanged::decode(&stored).unwrap(), changed);
        // Earlier builds stored no change.
        let earlier = format!("\u{1}{{\"member_id\":\"{member_id}\"}}");
        let earlier = RolesChanged::decode(earlier.as_bytes()).unwrap();
        assert_eq!(earlier.role_change_id, None);
    }
}
