//! The rows of duties in the projection, and what a duty allows between two members.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_database::{StorageError, Tx};
use parta_feed::HandleError;
use parta_ids::{DutyId, MemberId, OrgId, TypedId, UnitId, Uuid};
use parta_proto::time;
use parta_proto_membership::v1 as membership;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::OnConflict,
};

use crate::{
    Duty, DutyFunction, DutyKind, DutyScope, MemberContext, Role, State,
    entities::{duty, duty_pupil},
    organizations::id,
    unit_kind::is_sent,
};

impl DutyScope {
    /// Returns whether the member is a pupil in the scope, or a parent of one. A member who left is in no
    /// scope.
    fn concerns(&self, other: &MemberContext) -> bool {
        if other.state == State::Left {
            return false;
        }
        let is_pupil = other.holds(Role::Pupil);
        let is_parent = other.roles.contains(&Role::Parent);
        match self {
            Self::Organization => is_pupil || (is_parent && !other.children.is_empty()),
            Self::Unit(unit) => {
                let child = || other.children.iter().any(|child| child.units.contains(unit));
                (is_pupil && other.enrolled_in.contains(unit)) || (is_parent && child())
            }
            Self::Pupils(pupils) => {
                let child = || {
                    other
                        .children
                        .iter()
                        .any(|child| pupils.contains(&child.member_id))
                };
                (is_pupil && pupils.contains(&other.member_id)) || (is_parent && child())
            }
        }
    }
}

impl MemberContext {
    /// Returns the duties in force. A member without a role of the staff has none, and neither has a member
    /// of whom a role of the staff is suspended.
    fn duties_in_force(&self) -> impl Iterator<Item = &Duty> {
        let in_force = self.is_staff() && !self.suspended.iter().any(|role| role.is_staff());
        self.duties.iter().filter(move |_| in_force)
    }

    /// Returns whether the member holds a duty of this kind.
    pub fn has_duty(&self, kind: DutyKind) -> bool {
        self.duties_in_force().any(|duty| duty.kind == kind)
    }

    /// Returns whether a duty of the member allows this function toward the other one.
    pub fn may(&self, function: DutyFunction, other: &Self) -> bool {
        self.org_id == other.org_id
            && self.member_id != other.member_id
            && self
                .duties_in_force()
                .any(|duty| duty.kind.includes(function) && duty.scope.concerns(other))
    }

    /// Returns whether a duty of the member has this function toward anybody.
    pub fn has_function(&self, function: DutyFunction) -> bool {
        self.duties_in_force().any(|duty| duty.kind.includes(function))
    }

    /// Returns whether a duty of the member allows this function toward all pupils of a unit or of the
    /// organization, and not only toward named pupils.
    pub fn may_toward_many(&self, function: DutyFunction) -> bool {
        let covers = |duty: &Duty| !matches!(duty.scope, DutyScope::Pupils(_));
        self.duties_in_force()
            .any(|duty| duty.kind.includes(function) && covers(duty))
    }

    /// Returns whether a duty of the member allows this function toward all pupils of the unit.
    pub fn may_in_unit(&self, function: DutyFunction, unit: UnitId) -> bool {
        let covers = |duty: &Duty| match &duty.scope {
            DutyScope::Organization => true,
            DutyScope::Unit(of_duty) => *of_duty == unit,
            DutyScope::Pupils(_) => false,
        };
        self.duties_in_force()
            .any(|duty| duty.kind.includes(function) && covers(duty))
    }

    /// Returns the units in whose rooms a duty for the unit places the member.
    pub fn duty_rooms(&self) -> BTreeSet<UnitId> {
        self.duties_with_rooms().map(|(unit, _)| unit).collect()
    }

    /// Returns whether a duty for the unit that began no later than this time places the member in its rooms.
    /// A duty of which an earlier build published no time counts as an earlier one.
    pub fn has_duty_room_by(&self, unit: UnitId, time: DateTime<Utc>) -> bool {
        self.duties_with_rooms()
            .any(|(of_duty, duty)| of_duty == unit && duty.begin_time.is_none_or(|begin| begin <= time))
    }

    fn duties_with_rooms(&self) -> impl Iterator<Item = (UnitId, &Duty)> {
        let in_rooms = self
            .duties_in_force()
            .filter(|duty| duty.kind.includes(DutyFunction::Rooms));
        in_rooms.filter_map(|duty| match duty.scope {
            DutyScope::Unit(unit) => Some((unit, duty)),
            DutyScope::Organization | DutyScope::Pupils(_) => None,
        })
    }
}

/// Writes the rows of a duty and returns the holder. A duty of a kind that this build does not know is
/// kept, and grants nothing.
pub(crate) async fn put(
    tx: &Tx,
    org: OrgId,
    event: &membership::DutyAssigned,
) -> Result<MemberId, HandleError> {
    use membership::duty_scope::Scope;
    if !is_sent(event.kind) {
        return Err(HandleError::Failed("the event names no kind of the duty".into()));
    }
    let scope = event.scope.as_ref().and_then(|scope| scope.scope.as_ref());
    let no_scope = || HandleError::Failed("the event names no scope of the duty".into());
    let (unit, pupils): (Option<UnitId>, Option<&[String]>) = match scope.ok_or_else(no_scope)? {
        Scope::Organization(_) => (None, None),
        Scope::UnitId(unit) => (Some(id(unit)?), None),
        Scope::Pupils(pupils) => (None, Some(&pupils.member_ids)),
    };
    let duty_id = id::<DutyId>(&event.duty_id)?.uuid();
    let member: MemberId = id(&event.member_id)?;
    let row = duty::ActiveModel {
        org_id: Set(org.uuid()),
        duty_id: Set(duty_id),
        member_id: Set(member.uuid()),
        kind: Set(event.kind),
        unit_id: Set(unit.map(TypedId::uuid)),
        pupils_only: Set(pupils.is_some()),
        begin_time: Set(event.begin_time.as_ref().and_then(time)),
        seen: Set(true),
    };
    use duty::Column as C;
    let known = OnConflict::columns([C::OrgId, C::DutyId])
        .update_columns([
            C::MemberId,
            C::Kind,
            C::UnitId,
            C::PupilsOnly,
            C::BeginTime,
            C::Seen,
        ])
        .to_owned();
    duty::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    delete_pupils(tx, org, duty_id).await?;
    for pupil in pupils.unwrap_or_default() {
        let row = duty_pupil::ActiveModel {
            org_id: Set(org.uuid()),
            duty_id: Set(duty_id),
            pupil_id: Set(id::<MemberId>(pupil)?.uuid()),
        };
        duty_pupil::Entity::insert(row)
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(tx)
            .await?;
    }
    Ok(member)
}

async fn delete_pupils(tx: &Tx, org: OrgId, duty: Uuid) -> Result<(), HandleError> {
    duty_pupil::Entity::delete_many()
        .filter(duty_pupil::Column::OrgId.eq(org.uuid()))
        .filter(duty_pupil::Column::DutyId.eq(duty))
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes the rows of a duty and returns the holder, if there is such a row.
pub(crate) async fn delete(tx: &Tx, org: OrgId, duty: DutyId) -> Result<Option<MemberId>, HandleError> {
    let key = (org.uuid(), duty.uuid());
    let Some(row) = duty::Entity::find_by_id(key).one(tx).await? else {
        return Ok(None);
    };
    duty::Entity::delete_by_id(key).exec(tx).await?;
    delete_pupils(tx, org, duty.uuid()).await?;
    Ok(Some(MemberId::from_uuid(row.member_id)))
}

/// Marks the rows of an organization before a snapshot replaces them.
pub(crate) async fn mark_unseen(tx: &Tx, org: OrgId) -> Result<(), HandleError> {
    duty::Entity::update_many()
        .col_expr(duty::Column::Seen, false.into())
        .filter(duty::Column::OrgId.eq(org.uuid()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Deletes the rows that a snapshot does not have.
pub(crate) async fn delete_unseen(tx: &Tx, org: OrgId) -> Result<(), HandleError> {
    let ended = duty::Entity::find()
        .filter(duty::Column::OrgId.eq(org.uuid()))
        .filter(duty::Column::Seen.eq(false))
        .all(tx)
        .await?;
    for row in ended {
        delete(tx, org, DutyId::from_uuid(row.duty_id)).await?;
    }
    Ok(())
}

/// Returns the holders of duties for a unit.
pub(crate) async fn holders_for_unit(
    conn: &impl ConnectionTrait,
    org: OrgId,
    unit: UnitId,
) -> Result<Vec<MemberId>, StorageError> {
    let holders: Vec<Uuid> = duty::Entity::find()
        .select_only()
        .column(duty::Column::MemberId)
        .filter(duty::Column::OrgId.eq(org.uuid()))
        .filter(duty::Column::UnitId.eq(unit.uuid()))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(holders.into_iter().map(MemberId::from_uuid).collect())
}

/// Loads the duties of these members, by the member.
pub(crate) async fn load(
    conn: &impl ConnectionTrait,
    org: OrgId,
    members: &[Uuid],
) -> Result<BTreeMap<Uuid, Vec<Duty>>, StorageError> {
    let rows = duty::Entity::find()
        .filter(duty::Column::OrgId.eq(org.uuid()))
        .filter(duty::Column::MemberId.is_in(members.iter().copied()))
        .all(conn)
        .await?;
    let named: Vec<Uuid> = rows
        .iter()
        .filter(|row| row.pupils_only)
        .map(|row| row.duty_id)
        .collect();
    let mut pupils: BTreeMap<Uuid, BTreeSet<MemberId>> = BTreeMap::new();
    for chunk in named.chunks(5_000) {
        let rows = duty_pupil::Entity::find()
            .filter(duty_pupil::Column::OrgId.eq(org.uuid()))
            .filter(duty_pupil::Column::DutyId.is_in(chunk.iter().copied()))
            .all(conn)
            .await?;
        for row in rows {
            let pupil = MemberId::from_uuid(row.pupil_id);
            pupils.entry(row.duty_id).or_default().insert(pupil);
        }
    }
    let mut duties: BTreeMap<Uuid, Vec<Duty>> = BTreeMap::new();
    for row in rows {
        let kind = membership::DutyKind::try_from(row.kind).ok();
        let Some(kind) = kind.and_then(|kind| DutyKind::try_from(kind).ok()) else {
            if is_sent(row.kind) {
                continue;
            }
            return Err(StorageError::unknown_value("roster_duty.kind", row.kind));
        };
        let scope = match (row.unit_id, row.pupils_only) {
            (_, true) => DutyScope::Pupils(pupils.remove(&row.duty_id).unwrap_or_default()),
            (Some(unit), false) => DutyScope::Unit(UnitId::from_uuid(unit)),
            (None, false) => DutyScope::Organization,
        };
        duties.entry(row.member_id).or_default().push(Duty {
            kind,
            scope,
            begin_time: row.begin_time,
        });
    }
    Ok(duties)
}
