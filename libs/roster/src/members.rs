use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use parta_database::Tx;
use parta_feed::{HandleError, Handler, Snapshot};
use parta_ids::{AssignmentId, EnrollmentId, GuardianshipId, MemberId, OrgId, TypedId};
use parta_proto_membership::v1::{MembershipEvent, membership_event::Payload};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, sea_query::OnConflict};

use crate::{
    Change, RelationLimits, RosterObserver,
    change::staged_key,
    duty_rows,
    entities::{assignment, enrollment, guardianship, member, protection, relation_limit},
    event_runs::{self, Run, families, put_assignments, put_enrollments, put_guardianships},
    member_rows::{put_acting_head, put_members},
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
    for run in event_runs::split(org, events)? {
        match run {
            Run::Members(members) => {
                touched.changes.extend(put_members(tx, org, &members).await?);
            }
            Run::Assignments(begun) => {
                let teachers = put_assignments(tx, begun).await?;
                touched.changes.extend(teachers.into_iter().map(Change::Member));
            }
            Run::Enrollments(begun) => {
                touched.children.extend(put_enrollments(tx, begun).await?);
            }
            Run::Guardianships(made) => {
                let guardians = put_guardianships(tx, made).await?;
                touched.changes.extend(guardians.into_iter().map(Change::Member));
            }
            Run::One(Payload::RosterImportStaged(staged)) => {
                touched.changes.push(Change::RosterImportStaged {
                    key: staged_key(staged),
                    staged: staged.clone(),
                });
            }
            Run::One(payload) => write_one(tx, org, payload, &mut touched).await?,
        }
    }
    Ok(touched)
}

/// Writes the row of an event and adds what it changes.
async fn write_one(tx: &Tx, org: OrgId, payload: &Payload, touched: &mut Touched) -> Result<(), HandleError> {
    match payload {
        Payload::AssignmentCreated(made) => {
            // Of a kind that this build does not know.
            let member_id: MemberId = id(&made.member_id)?;
            let key = (org.uuid(), id::<AssignmentId>(&made.assignment_id)?.uuid());
            assignment::Entity::delete_by_id(key).exec(tx).await?;
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
        Payload::EnrollmentEnded(ended) => {
            let key = (org.uuid(), id::<EnrollmentId>(&ended.enrollment_id)?.uuid());
            let Some(row) = enrollment::Entity::find_by_id(key).one(tx).await? else {
                return Ok(());
            };
            enrollment::Entity::delete_by_id(key).exec(tx).await?;
            touched.children.insert(MemberId::from_uuid(row.member_id));
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
        // They have no row, or are written with those that follow.
        Payload::JoinRequested(_)
        | Payload::RosterImportStaged(_)
        | Payload::MemberAdmitted(_)
        | Payload::MemberChanged(_)
        | Payload::EnrollmentBegun(_)
        | Payload::GuardianshipEstablished(_) => {}
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
        changes.extend(families(tx, org, &children).await?);
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
