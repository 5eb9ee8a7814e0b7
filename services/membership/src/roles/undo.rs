//! Undoing a change of roles within 7 days (F2): what the rules of today allow is given back.
use std::collections::BTreeSet;

use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{GuardianshipId, MemberId, OrgId, RoleChangeId};
use parta_roster::{Role, State};
use serde::{Deserialize, Serialize};

use super::{
    model::{EndedGrounds, RoleChange, Subject},
    operations::fit,
    policy,
    steps::{decide, load},
    storage::changes,
    verification::forget_request,
};
use crate::{
    assignments,
    context::{Context, Run},
    duties,
    endings::{Obstacle, Restored},
    enrollments,
    error::Error,
    guardianships,
    member_records::{self, Member, MemberView, events, storage},
};

const KIND: &str = "role_change";

/// The outcome of UndoRoleChange.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Undone {
    member_id: MemberId,
    /// The bits of the roles that were given back.
    roles: i32,
    restored: EndedGrounds,
    /// The roles and facts that were not given back, each with the number of its obstacle.
    refused: Vec<(Subject, i32)>,
}

impl Stored for Undone {}

impl Undone {
    fn refuse(&mut self, subject: Subject, obstacle: Obstacle) {
        self.refused.push((subject, obstacle.number()));
    }

    /// Notes what became of a fact, and returns its new id.
    fn note<Id>(&mut self, subject: Subject, restored: Restored<Id>) -> Option<Id> {
        match restored {
            Restored::Begun(id) => Some(id),
            Restored::Lasts => None,
            Restored::Hindered(obstacle) => {
                self.refuse(subject, obstacle);
                None
            }
        }
    }
}

/// The effect of an undo.
pub(crate) struct UndoneChange {
    pub(crate) member: MemberView,
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) restored: EndedGrounds,
    pub(crate) refused: Vec<(Subject, i32)>,
}

/// Undoes a change by which a member lost roles.
#[derive(Debug)]
pub(crate) struct UndoRoleChange {
    pub(crate) org_id: OrgId,
    pub(crate) role_change_id: RoleChangeId,
}

impl UndoRoleChange {
    async fn change(&self, tx: &Tx, scope: &OrgScope) -> Result<RoleChange, Error> {
        let change = changes::find(tx, scope, self.role_change_id).await?;
        change.ok_or_else(|| Error::unknown(KIND, self.role_change_id))
    }
}

/// The proof that the caller may change the roles of the member of the change.
pub(crate) struct MayUndo {
    scope: OrgScope,
    undoer: MemberId,
    change: RoleChange,
}

impl Mutation for UndoRoleChange {
    type Context = Context;
    type Grant = MayUndo;
    type Outcome = Undone;
    type View = UndoneChange;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayUndo, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        // Whether there is such a change is for those to know who may read changes.
        let scope = authorize(caller, self.org_id, policy::list_changes(&facts))?;
        let change = self.change(tx, &scope).await?;
        let of = (self.org_id, change.member_id);
        Ok(MayUndo {
            scope: decide(run, &facts, of).await?,
            undoer: facts.member_id,
            change,
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayUndo) -> Result<Undone, Error> {
        let Run { context, tx, caller } = run;
        let MayUndo { scope, undoer, .. } = grant;
        if *undoer == grant.change.member_id {
            return Err(Error::second_person_required());
        }
        storage::lock_administrators(tx, scope).await?;
        // In the order in which the acts about relations lock. The release of a record and the departure of
        // a member take their relations out of the change, which is read again under these locks.
        let pairs = guardianships::lock_people(tx, scope, &grant.change.ended.guardianships).await?;
        let mut member = member_records::lock_present(tx, scope, grant.change.member_id).await?;
        // Between the decision and the lock the caller may have lost the role, and another one may have
        // undone the change, whose rows the lock of the member protects.
        let MayUndo { change, .. } = self.authorize(run).await?;
        let facts = context.facts(tx, caller, self.org_id).await?;
        policy::change(&facts, change.member_id, &change.lost, &BTreeSet::new())?;
        if !change.is_undoable(tx.now()) {
            return Err(Error::undo_expired());
        }
        let mut undone = Undone {
            member_id: member.id,
            roles: 0,
            restored: EndedGrounds::default(),
            refused: Vec::new(),
        };
        give_roles(context, tx, scope, &mut member, &change, &mut undone).await?;
        give_badge(tx, scope, &mut member, (&change, *undoer), &mut undone).await?;
        storage::update(tx, scope, &mut member).await?;
        events::changed(tx, &member).await?;
        give_work(context, tx, scope, &member, &change, &mut undone).await?;
        let relations = (*undoer, &pairs);
        for id in &change.ended.guardianships {
            give_relation(context, tx, scope, relations, *id, &mut undone).await?;
        }
        for id in &change.ended.acting_heads {
            // The head's powers are given on an order only.
            undone.refuse(Subject::ActingHead(*id), Obstacle::OrderRequired);
        }
        changes::close(tx, scope, change.id, *undoer, tx.now()).await?;
        parta_audit::record_within(tx, caller, self.org_id, format!("role-changes/{}", change.id)).await?;
        Ok(undone)
    }

    async fn view(&self, run: Run<'_>, grant: &MayUndo, outcome: &Undone) -> Result<UndoneChange, Error> {
        Ok(UndoneChange {
            member: load(run.tx, &grant.scope, outcome.member_id).await?,
            roles: Role::set_of(outcome.roles),
            restored: outcome.restored.clone(),
            refused: outcome.refused.clone(),
        })
    }
}

/// Gives the lost roles back to a locked member, which the caller saves. Refuses if the roles of today hinder
/// all of them: they are changed first, and the undo stays possible.
async fn give_roles(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    member: &mut Member,
    change: &RoleChange,
    undone: &mut Undone,
) -> Result<(), Error> {
    let mut wanted: Vec<Role> = change.lost.difference(&member.roles).copied().collect();
    // Whether the member may be an administrator depends on the other roles.
    wanted.sort_by_key(|role| *role == Role::Administrator);
    let mut is_hindered = false;
    for role in wanted {
        let mut roles = member.roles.clone();
        roles.insert(role);
        let works = member.state == State::Active && member.roles.iter().any(|role| role.is_staff());
        let obstacle = if changes::lost_since(tx, scope, member.id, role, change.revision).await? {
            Some(Obstacle::DecidedSince)
        } else if !fit(context, tx, scope, &roles, member).await? {
            is_hindered = true;
            Some(Obstacle::RoleCombination)
        } else if role == Role::Administrator && !works {
            Some(Obstacle::AdministratorNotJoined)
        } else {
            None
        };
        match obstacle {
            Some(obstacle) => undone.refuse(Subject::Role(role.bit()), obstacle),
            None => {
                member.grant(role);
                undone.roles |= role.bit();
            }
        }
    }
    if is_hindered && change.lost.is_disjoint(&member.roles) {
        return Err(Error::role_combination());
    }
    Ok(())
}

/// Gives the badge back to a locked member, which the caller saves.
async fn give_badge(
    tx: &Tx,
    scope: &OrgScope,
    member: &mut Member,
    (change, undoer): (&RoleChange, MemberId),
    undone: &mut Undone,
) -> Result<(), Error> {
    if !change.ended.badge || member.teacher_verified {
        return Ok(());
    }
    if change.badge_decided {
        undone.refuse(Subject::Badge, Obstacle::DecidedSince);
    } else if !member.has(Role::Teacher) {
        undone.refuse(Subject::Badge, Obstacle::RoleAbsent);
    } else {
        // The documents are those of the first decision, and the undoer is responsible for the second.
        member.teacher_verified = true;
        member.verifier_id = Some(undoer);
        forget_request(tx, scope, member.id).await?;
        undone.restored.badge = true;
    }
    Ok(())
}

/// Begins the assignments, duties and enrollments again.
async fn give_work(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    member: &Member,
    RoleChange {
        ended, create_time, ..
    }: &RoleChange,
    undone: &mut Undone,
) -> Result<(), Error> {
    for id in &ended.assignments {
        let restored = if member.has(Role::Teacher) {
            assignments::restore(context, tx, scope, *id, *create_time).await?
        } else {
            Restored::Hindered(Obstacle::RoleAbsent)
        };
        let begun = undone.note(Subject::Assignment(*id), restored);
        undone.restored.assignments.extend(begun);
    }
    for id in &ended.duties {
        let restored = if member.roles.iter().any(|role| role.is_staff()) {
            duties::restore(context, tx, scope, *id, &undone.restored.duties).await?
        } else {
            Restored::Hindered(Obstacle::RoleAbsent)
        };
        let begun = undone.note(Subject::Duty(*id), restored);
        undone.restored.duties.extend(begun);
    }
    for id in &ended.enrollments {
        let restored = if member.has(Role::Pupil) {
            enrollments::restore(
                context,
                tx,
                scope,
                *id,
                (*create_time, &undone.restored.enrollments),
            )
            .await?
        } else {
            Restored::Hindered(Obstacle::RoleAbsent)
        };
        let begun = undone.note(Subject::Enrollment(*id), restored);
        undone.restored.enrollments.extend(begun);
    }
    Ok(())
}

/// Begins a relation again.
async fn give_relation(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    relations: (MemberId, &BTreeSet<(MemberId, MemberId)>),
    id: GuardianshipId,
    undone: &mut Undone,
) -> Result<(), Error> {
    let restored = guardianships::restore(context, tx, scope, relations, id).await?;
    let begun = undone.note(Subject::Guardianship(id), restored);
    undone.restored.guardianships.extend(begun);
    Ok(())
}

/// Lists the changes by which members lost roles, newest first.
#[derive(Debug)]
pub(crate) struct ListRoleChanges {
    pub(crate) org_id: OrgId,
    /// Only those of this member.
    pub(crate) member_id: Option<MemberId>,
    pub(crate) page: PageRequest,
}

impl Query for ListRoleChanges {
    type Context = Context;
    type View = Page<RoleChange>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<RoleChange>>, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::list_changes(&facts))?;
        let before = self.page.after(tx, caller)?;
        let rows = changes::list(tx, &scope, self.member_id, before, self.page.limit()).await?;
        let page = self.page.page(tx, caller, rows, |row| row.id);
        Ok(Read::audited(page, self.org_id, "role-changes"))
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{AssignmentId, TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let member_id = MemberId::from_uuid(Uuid::from_u128(1));
        let assignment = AssignmentId::from_uuid(Uuid::from_u128(2));
        let undone = Undone {
            member_id,
            roles: Role::Teacher.bit(),
            restored: EndedGrounds {
                badge: true,
                assignments: vec![assignment],
                ..Default::default()
            },
            refused: vec![(Subject::Assignment(assignment), Obstacle::UnitUnknown.number())],
        };
        let form = format!(
            "\u{1}{{\"member_id\":\"{member_id}\",\"roles\":8,\"restored\":{{\"badge\":true,\
             \"assignments\":[\"{assignment}\"],\"duties\":[],\"enrollments\":[],\"guardianships\":[],\
             \"acting_heads\":[]}},\
             \"refused\":[[{{\"Assignment\":\"{assignment}\"}},5]]}}"
        );
        let stored = undone.encode().unwrap();
        assert_eq!(String::from_utf8_lossy(&stored), form);
        assert_eq!(Undone::decode(&stored).unwrap(), undone);
    }
}
