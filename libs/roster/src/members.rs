use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use parta_database::Tx;
use parta_feed::{HandleError, Handler, Snapshot};
use parta_ids::{AssignmentId, EnrollmentId, GuardianshipId, MemberId, OrgId, TypedId, UnitId};
use parta_proto::time;
use parta_proto_membership::v1::{
    AssignmentCreated, AssignmentKind, MembershipEvent, Role as PbRole, membership_event::Payload,
};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::OnConflict};

use crate::{
    Change, RelationLimits, Role, RosterObserver,
    change::staged_key,
    duty_rows,
    entities::{assignment, enrollment, guardianship, member, protection, relation_limit},
    member_rows::{MemberRow, put_acting_head, put_member},
    organizations::id,
    suspensions,
};

/// Applies the feed of membership.
pub struct Members {
    observer: Arc<dyn RosterObserver>,
}

impl Members {
    /// Returns a handler that notifies `observer` of every change.
    pub fn new(observer: Arc<dyn RosterObserver>) -> Self {
        Self { observer }
    }
}

/// The changes by events.
#[derive(Default)]
struct Touched {
    changes: Vec<Change>,
    /// The children whose families are changed too.
    children: BTreeSet<MemberId>,
}

/// Writes the rows of consecutive events. Returns what they change, on which the observer acts once all rows
/// are written.
async fn write(tx: &Tx, org: OrgId, events: &[MembershipEvent]) -> Result<Touched, HandleError> {
    let mut touched = Touched::default();
    for event in events {
        match &event.payload {
            Some(Payload::RosterImportStaged(staged)) => touched.changes.push(Change::RosterImportStaged {
                key: staged_key(staged),
                staged: staged.clone(),
            }),
            Some(payload) => write_one(tx, org, payload, &mut touched).await?,
            None => {}
        }
    }
    Ok(touched)
}

/// Returns the changes of a child, of the guardians and of those who are limited toward the child, because
/// the classes of a child are part of their contexts.
async fn family(tx: &Tx, org: OrgId, child: MemberId) -> Result<Vec<Change>, HandleError> {
    let guardians: Vec<uuid::Uuid> = guardianship::Entity::find()
        .select_only()
        .column(guardianship::Column::GuardianId)
        .filter(guardianship::Column::OrgId.eq(org.uuid()))
        .filter(guardianship::Column::ChildId.eq(child.uuid()))
        .filter(guardianship::Column::Confirmed.eq(true))
        .into_tuple()
        .all(tx)
        .await?;
    let limited: Vec<uuid::Uuid> = relation_limit::Entity::find()
        .select_only()
        .column(relation_limit::Column::GuardianId)
        .filter(relation_limit::Column::OrgId.eq(org.uuid()))
        .filter(relation_limit::Column::ChildId.eq(child.uuid()))
        .into_tuple()
        .all(tx)
        .await?;
    let adults: BTreeSet<MemberId> = guardians
        .into_iter()
        .chain(limited)
        .map(MemberId::from_uuid)
        .collect();
    Ok([child].into_iter().chain(adults).map(Change::Member).collect())
}

/// Encodes the roles of an event. A role that this build does not know grants nothing.
fn mask(roles: impl Iterator<Item = PbRole>) -> i32 {
    Role::mask_of(roles.filter_map(|role| Role::try_from(role).ok()))
}

/// Writes the row of an event and adds what it changes.
async fn write_one(tx: &Tx, org: OrgId, payload: &Payload, touched: &mut Touched) -> Result<(), HandleError> {
    match payload {
        Payload::MemberAdmitted(admitted) => {
            let member = MemberRow {
                member_id: id(&admitted.member_id)?,
                state: admitted.state,
                roles: mask(admitted.roles()),
                teacher_verified: admitted.teacher_verified,
                release_count: admitted.release_count,
                removed_for_cause: admitted.removed_for_cause,
            };
            touched.changes.extend(put_member(tx, org, &member).await?);
        }
        Payload::MemberChanged(changed) => {
            let member = MemberRow {
                member_id: id(&changed.member_id)?,
                state: changed.state,
                roles: mask(changed.roles()),
                teacher_verified: changed.teacher_verified,
                release_count: changed.release_count,
                removed_for_cause: changed.removed_for_cause,
            };
            touched.changes.extend(put_member(tx, org, &member).await?);
        }
        Payload::AssignmentCreated(made) => {
            let member_id: MemberId = id(&made.member_id)?;
            put_assignment(tx, org, member_id, made).await?;
            touched.changes.push(Change::Member(member_id));
        }
        Payload::AssignmentEnded(ended) => {
            let key = (org.uuid(), id::<AssignmentId>(&ended.assignment_id)?.uuid());
            let Some(row) = assignment::Entity::find_by_id(key).one(tx).await? else {
                return Ok(());
            };
            assignment::Entity::delete_by_id(key).exec(tx).await?;
            touched
                .changes
                .push(Change::Member(MemberId::from_uuid(row.member_id)));
        }
        Payload::EnrollmentBegun(begun) => {
            let member_id: MemberId = id(&begun.member_id)?;
            let row = enrollment::ActiveModel {
                org_id: Set(org.uuid()),
                enrollment_id: Set(id::<EnrollmentId>(&begun.enrollment_id)?.uuid()),
                member_id: Set(member_id.uuid()),
                unit_id: Set(id::<UnitId>(&begun.unit_id)?.uuid()),
                begin_time: Set(begun.begin_time.as_ref().and_then(time)),
                seen: Set(true),
            };
            use enrollment::Column as C;
            let known = OnConflict::columns([C::OrgId, C::EnrollmentId])
                .update_columns([C::MemberId, C::UnitId, C::BeginTime, C::Seen])
                .to_owned();
            enrollment::Entity::insert(row)
                .on_conflict(known)
                .exec_without_returning(tx)
                .await?;
            touched.children.insert(member_id);
        }
        Payload::EnrollmentEnded(ended) => {
            let key = (org.uuid(), id::<EnrollmentId>(&ended.enrollment_id)?.uuid());
            let Some(row) = enrollment::Entity::find_by_id(key).one(tx).await? else {
                return Ok(());
            };
            enrollment::Entity::delete_by_id(key).exec(tx).await?;
            touched.children.insert(MemberId::from_uuid(row.member_id));
        }
        Payload::GuardianshipEstablished(made) => {
            let guardian: MemberId = id(&made.guardian_id)?;
            let row = guardianship::ActiveModel {
                org_id: Set(org.uuid()),
                guardianship_id: Set(id::<GuardianshipId>(&made.guardianship_id)?.uuid()),
                guardian_id: Set(guardian.uuid()),
                child_id: Set(id::<MemberId>(&made.child_id)?.uuid()),
                confirmed: Set(made.confirmed),
                unit_rooms_only: Set(made.unit_rooms_only),
                begin_time: Set(made.begin_time.as_ref().and_then(time)),
                seen: Set(true),
            };
            use guardianship::Column as C;
            let known = OnConflict::columns([C::OrgId, C::GuardianshipId])
                .update_columns([
                    C::GuardianId,
                    C::ChildId,
                    C::Confirmed,
                    C::UnitRoomsOnly,
                    C::BeginTime,
                    C::Seen,
                ])
                .to_owned();
            guardianship::Entity::insert(row)
                .on_conflict(known)
                .exec_without_returning(tx)
                .await?;
            touched.changes.push(Change::Member(guardian));
        }
        Payload::GuardianshipChanged(changed) => {
            let key = (org.uuid(), id::<GuardianshipId>(&changed.guardianship_id)?.uuid());
            let Some(row) = guardianship::Entity::find_by_id(key).one(tx).await? else {
                return Ok(());
            };
            guardianship::Entity::update_many()
                .col_expr(guardianship::Column::Confirmed, changed.confirmed.into())
                .col_expr(
                    guardianship::Column::UnitRoomsOnly,
                    changed.unit_rooms_only.into(),
                )
                .filter(guardianship::Column::OrgId.eq(key.0))
                .filter(guardianship::Column::GuardianshipId.eq(key.1))
                .exec(tx)
                .await?;
            touched
                .changes
                .push(Change::Member(MemberId::from_uuid(row.guardian_id)));
        }
        Payload::GuardianshipEnded(ended) => {
            let key = (org.uuid(), id::<GuardianshipId>(&ended.guardianship_id)?.uuid());
            let Some(row) = guardianship::Entity::find_by_id(key).one(tx).await? else {
                return Ok(());
            };
            guardianship::Entity::delete_by_id(key).exec(tx).await?;
            touched
                .changes
                .push(Change::Member(MemberId::from_uuid(row.guardian_id)));
        }
        Payload::MemberSuspended(suspended) => {
            touched
                .changes
                .push(Change::Member(suspensions::put(tx, org, suspended).await?));
        }
        Payload::MemberReinstated(reinstated) => {
            let suspension = id(&reinstated.suspension_id)?;
            let member = suspensions::delete(tx, org, suspension).await?;
            touched.changes.extend(member.map(Change::Member));
        }
        Payload::DutyAssigned(assigned) => {
            touched
                .changes
                .push(Change::Member(duty_rows::put(tx, org, assigned).await?));
        }
        Payload::DutyEnded(ended) => {
            let member = duty_rows::delete(tx, org, id(&ended.duty_id)?).await?;
            touched.changes.extend(member.map(Change::Member));
        }
        Payload::ActingHeadAppointed(appointed) => {
            let member = id(&appointed.member_id)?;
            touched
                .changes
                .push(put_acting_head(tx, org, member, true).await?);
        }
        Payload::ActingHeadEnded(ended) => {
            let member = id(&ended.member_id)?;
            touched
                .changes
                .push(put_acting_head(tx, org, member, false).await?);
        }
        Payload::RelationLimited(limited) => {
            let guardian: MemberId = id(&limited.guardian_id)?;
            let child: MemberId = id(&limited.child_id)?;
            put_limits(
                tx,
                org,
                guardian,
                child,
                RelationLimits::of_event(&limited.limits),
            )
            .await?;
            touched.changes.push(Change::Member(guardian));
        }
        Payload::FamilyProtectionChanged(changed) => {
            let child: MemberId = id(&changed.child_id)?;
            put_protection(tx, org, child, changed.protected).await?;
            touched.children.insert(child);
        }
        Payload::JoinDecided(decided) => touched.changes.push(Change::JoinDecided {
            join_request_id: id(&decided.join_request_id)?,
            invitation_id: id(&decided.invitation_id)?,
            member_id: match decided.member_id.as_str() {
                "" => None,
                member => Some(id(member)?),
            },
        }),
        // They have no row.
        Payload::JoinRequested(_) | Payload::RosterImportStaged(_) => {}
    }
    Ok(())
}

async fn put_limits(
    tx: &Tx,
    org: OrgId,
    guardian: MemberId,
    child: MemberId,
    limits: RelationLimits,
) -> Result<(), HandleError> {
    let key = (org.uuid(), guardian.uuid(), child.uuid());
    if limits.is_empty() {
        relation_limit::Entity::delete_by_id(key).exec(tx).await?;
        return Ok(());
    }
    let row = relation_limit::ActiveModel {
        org_id: Set(key.0),
        guardian_id: Set(key.1),
        child_id: Set(key.2),
        limits: Set(limits.mask()),
        seen: Set(true),
    };
    use relation_limit::Column as C;
    let known = OnConflict::columns([C::OrgId, C::GuardianId, C::ChildId])
        .update_columns([C::Limits, C::Seen])
        .to_owned();
    relation_limit::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

async fn put_protection(tx: &Tx, org: OrgId, child: MemberId, protected: bool) -> Result<(), HandleError> {
    let key = (org.uuid(), child.uuid());
    if !protected {
        protection::Entity::delete_by_id(key).exec(tx).await?;
        return Ok(());
    }
    let row = protection::ActiveModel {
        org_id: Set(key.0),
        member_id: Set(key.1),
        seen: Set(true),
    };
    use protection::Column as C;
    let known = OnConflict::columns([C::OrgId, C::MemberId])
        .update_column(C::Seen)
        .to_owned();
    protection::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

#[async_trait]
impl Handler for Members {
    type Event = MembershipEvent;

    async fn apply(&self, tx: &Tx, org: OrgId, events: &[MembershipEvent]) -> Result<(), HandleError> {
        let Touched {
            mut changes,
            children,
        } = write(tx, org, events).await?;
        for child in children {
            changes.extend(family(tx, org, child).await?);
        }
        self.observer.changed(tx, org, &changes).await
    }

    async fn replace(
        &self,
        tx: &Tx,
        org: OrgId,
        snapshot: &Snapshot<MembershipEvent>,
    ) -> Result<(), HandleError> {
        mark_unseen(tx, org).await?;
        let mut changes = Vec::new();
        for events in snapshot.parts() {
            // After a snapshot the observer looks at all members, so that none is named.
            let touched = write(tx, org, &events?).await?.changes.into_iter();
            changes.extend(touched.filter(|change| !matches!(change, Change::Member(_))));
        }
        delete_unseen(tx, org).await?;
        changes.push(Change::Resynced);
        self.observer.changed(tx, org, &changes).await
    }
}

async fn mark_unseen(tx: &Tx, org: OrgId) -> Result<(), HandleError> {
    suspensions::mark_unseen(tx, org).await?;
    duty_rows::mark_unseen(tx, org).await?;
    member::Entity::update_many()
        .col_expr(member::Column::Seen, false.into())
        // The snapshot names the present acting head.
        .col_expr(member::Column::ActingHead, false.into())
        .filter(member::Column::OrgId.eq(org.uuid()))
        .exec(tx)
        .await?;
    assignment::Entity::update_many()
        .col_expr(assignment::Column::Seen, false.into())
        .filter(assignment::Column::OrgId.eq(org.uuid()))
        .exec(tx)
        .await?;
    enrollment::Entity::update_many()
        .col_expr(enrollment::Column::Seen, false.into())
        .filter(enrollment::Column::OrgId.eq(org.uuid()))
        .exec(tx)
        .await?;
    guardianship::Entity::update_many()
        .col_expr(guardianship::Column::Seen, false.into())
        .filter(guardianship::Column::OrgId.eq(org.uuid()))
        .exec(tx)
        .await?;
    relation_limit::Entity::update_many()
        .col_expr(relation_limit::Column::Seen, false.into())
        .filter(relation_limit::Column::OrgId.eq(org.uuid()))
        .exec(tx)
        .await?;
    protection::Entity::update_many()
        .col_expr(protection::Column::Seen, false.into())
        .filter(protection::Column::OrgId.eq(org.uuid()))
        .exec(tx)
        .await?;
    Ok(())
}

async fn delete_unseen(tx: &Tx, org: OrgId) -> Result<(), HandleError> {
    suspensions::delete_unseen(tx, org).await?;
    duty_rows::delete_unseen(tx, org).await?;
    member::Entity::delete_many()
        .filter(member::Column::OrgId.eq(org.uuid()))
        .filter(member::Column::Seen.eq(false))
        .exec(tx)
        .await?;
    assignment::Entity::delete_many()
        .filter(assignment::Column::OrgId.eq(org.uuid()))
        .filter(assignment::Column::Seen.eq(false))
        .exec(tx)
        .await?;
    enrollment::Entity::delete_many()
        .filter(enrollment::Column::OrgId.eq(org.uuid()))
        .filter(enrollment::Column::Seen.eq(false))
        .exec(tx)
        .await?;
    guardianship::Entity::delete_many()
        .filter(guardianship::Column::OrgId.eq(org.uuid()))
        .filter(guardianship::Column::Seen.eq(false))
        .exec(tx)
        .await?;
    relation_limit::Entity::delete_many()
        .filter(relation_limit::Column::OrgId.eq(org.uuid()))
        .filter(relation_limit::Column::Seen.eq(false))
        .exec(tx)
        .await?;
    protection::Entity::delete_many()
        .filter(protection::Column::OrgId.eq(org.uuid()))
        .filter(protection::Column::Seen.eq(false))
        .exec(tx)
        .await?;
    Ok(())
}

/// Inserts or updates an assignment. Unknown in a feed event: the stricter reading. An assignment of a kind
/// that this build does not know grants nothing, so it has no row.
async fn put_assignment(
    tx: &Tx,
    org: OrgId,
    member_id: MemberId,
    made: &AssignmentCreated,
) -> Result<(), HandleError> {
    let assignment_id = id::<AssignmentId>(&made.assignment_id)?;
    let unit_id = id::<UnitId>(&made.unit_id)?;
    let class_teacher = match made.kind() {
        AssignmentKind::ClassTeacher => true,
        AssignmentKind::SubjectTeacher => false,
        AssignmentKind::Unspecified => {
            assignment::Entity::delete_by_id((org.uuid(), assignment_id.uuid()))
                .exec(tx)
                .await?;
            return Ok(());
        }
    };
    let row = assignment::ActiveModel {
        org_id: Set(org.uuid()),
        assignment_id: Set(assignment_id.uuid()),
        member_id: Set(member_id.uuid()),
        unit_id: Set(unit_id.uuid()),
        class_teacher: Set(class_teacher),
        substitution: Set(made.substitution),
        begin_time: Set(made.begin_time.as_ref().and_then(time)),
        seen: Set(true),
    };
    use assignment::Column as C;
    let known = OnConflict::columns([C::OrgId, C::AssignmentId])
        .update_columns([
            C::MemberId,
            C::UnitId,
            C::ClassTeacher,
            C::Substitution,
            C::BeginTime,
            C::Seen,
        ])
        .to_owned();
    assignment::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}
