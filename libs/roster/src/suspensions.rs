//! Suspensions (R82): the rows of the projection, and what is withheld of the context of a member.
//!
//! Invariant: `roster_member.suspended_roles` is the union of the member's rows in `roster_suspension`, so
//! that the state of a member is read from one row.
use std::collections::BTreeSet;

use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{MemberId, OrgId, SuspensionId, TypedId, Uuid};
use parta_proto::status::v1::ErrorReason;
use parta_proto_membership::v1::{MemberState, MemberSuspended};
use parta_status::{RpcError, not_found};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{CaseStatement, Expr, ExprTrait, OnConflict, SimpleExpr},
};

use crate::{
    MemberContext, Role, State,
    entities::{member, suspension},
    organizations::id,
};

/// The number of [`State::Suspended`] in the result of [`state`]. No release sends it.
pub(crate) const SUSPENDED: i32 = i32::MIN;
/// The mask of all roles, also those that this build does not know.
pub(crate) const ALL_ROLES: i32 = i32::MAX;

/// Returns the expression for the state of a row of `roster_member`.
pub(crate) fn state() -> SimpleExpr {
    use member::Column as C;
    let roles = Expr::col(C::Roles);
    let suspended = Expr::col(C::State)
        .eq(i32::from(MemberState::Active))
        .and(Expr::col(C::SuspendedRoles).ne(0))
        .and(roles.clone().bit_and(Expr::col(C::SuspendedRoles)).eq(roles));
    CaseStatement::new()
        .case(suspended, SUSPENDED)
        .finally(Expr::col(C::State))
        .into()
}

/// Writes the row of a suspension and returns the member. Unknown in a feed event: the stricter reading. A
/// suspension of only such roles as this build does not know suspends nothing that this build grants.
pub(crate) async fn put(tx: &Tx, org: OrgId, event: &MemberSuspended) -> Result<MemberId, HandleError> {
    let member: MemberId = id(&event.member_id)?;
    let roles = if event.roles.is_empty() {
        ALL_ROLES
    } else {
        Role::mask_of(event.roles().filter_map(|role| Role::try_from(role).ok()))
    };
    let row = suspension::ActiveModel {
        org_id: Set(org.uuid()),
        suspension_id: Set(id::<SuspensionId>(&event.suspension_id)?.uuid()),
        member_id: Set(member.uuid()),
        roles: Set(roles),
        seen: Set(true),
    };
    use suspension::Column as C;
    let known = OnConflict::columns([C::OrgId, C::SuspensionId])
        .update_columns([C::MemberId, C::Roles, C::Seen])
        .to_owned();
    suspension::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    update_member(tx, org, member).await?;
    Ok(member)
}

/// Deletes the row of a suspension and returns the member, if there is such a row.
pub(crate) async fn delete(
    tx: &Tx,
    org: OrgId,
    suspension: SuspensionId,
) -> Result<Option<MemberId>, HandleError> {
    let key = (org.uuid(), suspension.uuid());
    let Some(row) = suspension::Entity::find_by_id(key).one(tx).await? else {
        return Ok(None);
    };
    suspension::Entity::delete_by_id(key).exec(tx).await?;
    let member = MemberId::from_uuid(row.member_id);
    update_member(tx, org, member).await?;
    Ok(Some(member))
}

/// Stores the union of the suspensions of a member in the row of the member.
async fn update_member(tx: &Tx, org: OrgId, member: MemberId) -> Result<(), HandleError> {
    let masks: Vec<i32> = suspension::Entity::find()
        .select_only()
        .column(suspension::Column::Roles)
        .filter(suspension::Column::OrgId.eq(org.uuid()))
        .filter(suspension::Column::MemberId.eq(member.uuid()))
        .into_tuple()
        .all(tx)
        .await?;
    let union = masks.into_iter().fold(0, |union, mask| union | mask);
    member::Entity::update_many()
        .col_expr(member::Column::SuspendedRoles, union.into())
        .filter(member::Column::OrgId.eq(org.uuid()))
        .filter(member::Column::MemberId.eq(member.uuid()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Marks the rows of an organization before a snapshot replaces them.
pub(crate) async fn mark_unseen(tx: &Tx, org: OrgId) -> Result<(), HandleError> {
    suspension::Entity::update_many()
        .col_expr(suspension::Column::Seen, false.into())
        .filter(suspension::Column::OrgId.eq(org.uuid()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes the rows that a snapshot does not have.
pub(crate) async fn delete_unseen(tx: &Tx, org: OrgId) -> Result<(), HandleError> {
    let ended: Vec<Uuid> = suspension::Entity::find()
        .select_only()
        .column(suspension::Column::SuspensionId)
        .filter(suspension::Column::OrgId.eq(org.uuid()))
        .filter(suspension::Column::Seen.eq(false))
        .into_tuple()
        .all(tx)
        .await?;
    for suspension in ended {
        delete(tx, org, SuspensionId::from_uuid(suspension)).await?;
    }
    Ok(())
}

impl MemberContext {
    /// Returns whether the member holds the role, in force or suspended. Rules that protect the holder or
    /// others from the holder use this; rights use `roles`.
    pub fn holds(&self, role: Role) -> bool {
        self.roles.contains(&role) || self.suspended.contains(&role)
    }

    /// Returns whether the member has joined and works in the organization, also while it is suspended.
    pub fn holds_staff_role(&self) -> bool {
        let mut roles = self.roles.union(&self.suspended);
        (self.is_active() || self.is_suspended()) && roles.any(|role| role.is_staff())
    }

    /// Returns whether the member has joined and all roles are suspended.
    pub fn is_suspended(&self) -> bool {
        self.state == State::Suspended
    }

    /// Returns the context of an active member. A suspended one gets MEMBER_SUSPENDED, anybody else
    /// NOT_FOUND (organization).
    pub fn require_active(self) -> Result<Self, RpcError> {
        match self.state {
            State::Active => Ok(self),
            State::Suspended => Err(Self::suspended_refusal()),
            State::Expected | State::Left => Err(not_found("organization", self.org_id)),
        }
    }

    /// Returns the refusal of every call of a suspended member.
    pub fn suspended_refusal() -> RpcError {
        let message = "Your access to the organization is suspended. Ask its administration.";
        RpcError::new(ErrorReason::MemberSuspended, message)
    }

    /// Returns the context that the member would have without any suspension. It grants nothing: rules use
    /// it to protect a member whose role is suspended, and to decide what outlasts a suspension.
    pub fn reinstated(&self) -> &Self {
        self.unsuspended.as_deref().unwrap_or(self)
    }

    /// Suspends these roles, as far as the member holds them: removes what rests on them, so that no rule
    /// grants anything by it. A person keeps what another role gives (F4).
    pub fn suspend(&mut self, roles: &BTreeSet<Role>) {
        if self.unsuspended.is_none() {
            self.unsuspended = Some(Box::new(self.clone()));
        }
        self.suspended.extend(self.roles.intersection(roles));
        self.roles = &self.roles - &self.suspended;
        if self.suspended.contains(&Role::Teacher) {
            self.teacher_verified = false;
            self.teaches = BTreeSet::new();
            self.class_teacher_of = BTreeSet::new();
            self.substitute_in = BTreeSet::new();
            self.substitute_class_teacher_of = BTreeSet::new();
        }
        if self.suspended.contains(&Role::Pupil) {
            self.enrolled_in = BTreeSet::new();
            self.peer_units = BTreeSet::new();
        }
        if self.suspended.contains(&Role::Parent) {
            self.children = Vec::new();
        }
        if self.state == State::Active && self.roles.is_empty() {
            self.state = State::Suspended;
        }
    }
}

#[cfg(test)]
mod tests {
    use parta_access::PrincipalKind;

    use super::*;

    #[test]
    fn suspended_context_knows_what_it_was() {
        let before = MemberContext::sample(PrincipalKind::ClassTeacher).unwrap();
        let mut facts = before.clone();
        assert_eq!(facts.reinstated(), &before);
        facts.suspend(&BTreeSet::from([Role::Teacher]));
        facts.suspend(&BTreeSet::from([Role::Parent]));
        assert!(facts.is_suspended() && facts.teaches.is_empty());
        assert_eq!(facts.reinstated(), &before);
    }
}
