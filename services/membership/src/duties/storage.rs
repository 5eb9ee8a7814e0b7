//! The tables `duty` and `duty_pupil` and named queries over them.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{DutyId, MemberId, OrgId, TypedId as _, UnitId, Uuid};
use parta_roster::{DutyKind, DutyScope};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use super::model::Duty;
use crate::orders::Order;
use crate::storage::{FactColumns, MemberFacts, end_facts, ids_of, lasting, lasting_of};
pub(super) use entity::Entity as Duties;
use entity::{Column, Entity, Model};

table!(entity, "duty", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    duty_id: Uuid,
    member_id: Uuid,
    kind: i32,
    unit_id: Option<Uuid>,
    pupils_only: bool,
    order_number: String,
    order_date: Date,
    order_text: String,
    create_time: DateTimeUtc,
    until_date: Date,
    due_time: DateTimeUtc,
    end_time: Option<DateTimeUtc>,
    end_cause: Option<String>,
});

table!(pupil, "duty_pupil", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    duty_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pupil_id: Uuid,
});

impl MemberFacts for Entity {
    type Id = DutyId;
    const COLUMNS: FactColumns<Column> = FactColumns {
        org: Column::OrgId,
        id: Column::DutyId,
        member: Column::MemberId,
        end_time: Column::EndTime,
    };
}

/// The number of a kind in the database, which is that of the API. It never changes.
fn kind_number(kind: DutyKind) -> i32 {
    match kind {
        DutyKind::Psychologist => 1,
        DutyKind::SocialPedagogue => 2,
        DutyKind::Nurse => 3,
        DutyKind::Librarian => 4,
        DutyKind::Tutor => 5,
        DutyKind::Assistant => 6,
        DutyKind::Interpreter => 7,
        DutyKind::Safeguarding => 8,
        DutyKind::Office => 9,
        DutyKind::Transport => 10,
    }
}

fn kind(number: i32) -> Result<DutyKind, StorageError> {
    DutyKind::ALL
        .into_iter()
        .find(|kind| kind_number(*kind) == number)
        .ok_or_else(|| StorageError::unknown_value("duty.kind", number))
}

/// Adds the named pupils to rows of one organization.
async fn duties(
    conn: &impl ConnectionTrait,
    org: OrgId,
    rows: Vec<Model>,
) -> Result<Vec<Duty>, StorageError> {
    let named: Vec<Uuid> = rows
        .iter()
        .filter(|row| row.pupils_only)
        .map(|row| row.duty_id)
        .collect();
    let mut pupils: BTreeMap<Uuid, BTreeSet<MemberId>> = BTreeMap::new();
    for chunk in named.chunks(5_000) {
        let found = pupil::Entity::find()
            .filter(pupil::Column::OrgId.eq(org.uuid()))
            .filter(pupil::Column::DutyId.is_in(chunk.iter().copied()))
            .all(conn)
            .await?;
        for row in found {
            let pupil = MemberId::from_uuid(row.pupil_id);
            pupils.entry(row.duty_id).or_default().insert(pupil);
        }
    }
    let duty = |row: Model| {
        let scope = match (row.unit_id, row.pupils_only) {
            (_, true) => DutyScope::Pupils(pupils.remove(&row.duty_id).unwrap_or_default()),
            (Some(unit), false) => DutyScope::Unit(UnitId::from_uuid(unit)),
            (None, false) => DutyScope::Organization,
        };
        Ok(Duty {
            org_id: OrgId::from_uuid(row.org_id),
            id: DutyId::from_uuid(row.duty_id),
            member_id: MemberId::from_uuid(row.member_id),
            kind: kind(row.kind)?,
            scope,
            order: Order {
                number: row.order_number,
                date: row.order_date,
                text: row.order_text,
            },
            create_time: row.create_time,
            until: row.until_date,
            due_time: row.due_time,
            end_time: row.end_time,
            end_cause: row.end_cause,
        })
    };
    rows.into_iter().map(duty).collect()
}

pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    duty: &Duty,
) -> Result<(), StorageError> {
    let org_id = scope.org_id().uuid();
    let (unit, pupils) = match &duty.scope {
        DutyScope::Organization => (None, None),
        DutyScope::Unit(unit) => (Some(unit.uuid()), None),
        DutyScope::Pupils(pupils) => (None, Some(pupils)),
    };
    let row = Model {
        org_id,
        duty_id: duty.id.uuid(),
        member_id: duty.member_id.uuid(),
        kind: kind_number(duty.kind),
        unit_id: unit,
        pupils_only: pupils.is_some(),
        order_number: duty.order.number.clone(),
        order_date: duty.order.date,
        order_text: duty.order.text.clone(),
        create_time: duty.create_time,
        until_date: duty.until,
        due_time: duty.due_time,
        end_time: duty.end_time,
        end_cause: duty.end_cause.clone(),
    };
    Entity::insert(row.into_active_model())
        .exec_without_returning(conn)
        .await?;
    let pupils = pupils.into_iter().flatten().map(|member| pupil::ActiveModel {
        org_id: Set(org_id),
        duty_id: Set(duty.id.uuid()),
        pupil_id: Set(member.uuid()),
    });
    let pupils: Vec<_> = pupils.collect();
    if !pupils.is_empty() {
        pupil::Entity::insert_many(pupils)
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}

/// Loads a duty, ended or not.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: DutyId,
) -> Result<Option<Duty>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    let found = duties(conn, scope.org_id(), row.into_iter().collect()).await?;
    Ok(found.into_iter().next())
}

/// Loads a duty, ended or not, and locks its row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: DutyId,
) -> Result<Option<Duty>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    let found = duties(conn, scope.org_id(), row.into_iter().collect()).await?;
    Ok(found.into_iter().next())
}

/// Ends a duty whose row is locked, by a decision.
pub(super) async fn end(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: DutyId,
    now: DateTime<Utc>,
    cause: &str,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .col_expr(Column::EndCause, Expr::value(cause))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::DutyId.eq(id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Loads the duties of a member that have not ended.
pub(super) async fn list_lasting(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<Duty>, StorageError> {
    let rows = Entity::find().filter(lasting_of::<Entity>(scope, member));
    let rows = rows.all(conn).await?;
    duties(conn, scope.org_id(), rows).await
}

/// Returns the ids of the duties that name a member among their pupils, also of those that have ended.
pub(super) async fn naming(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Vec<DutyId>, DbErr> {
    let rows = Condition::all()
        .add(pupil::Column::OrgId.eq(scope.org_id().uuid()))
        .add(pupil::Column::PupilId.eq(member.uuid()));
    ids_of::<pupil::Entity, _>(conn, pupil::Column::DutyId, rows).await
}

/// Loads the latest duty of this kind that a member had or has, apart from some.
pub(super) async fn latest(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    (member, of_kind): (MemberId, DutyKind),
    apart_from: &[DutyId],
) -> Result<Option<Duty>, StorageError> {
    let row = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::MemberId.eq(member.uuid()))
        .filter(Column::Kind.eq(kind_number(of_kind)))
        .filter(Column::DutyId.is_not_in(apart_from.iter().map(|id| id.uuid())))
        .order_by_desc(Column::CreateTime)
        .order_by_desc(Column::DutyId)
        .limit(1)
        .one(conn)
        .await?;
    let found = duties(conn, scope.org_id(), row.into_iter().collect()).await?;
    Ok(found.into_iter().next())
}

/// Ends a duty whose last day is over; returns `false` if it has ended otherwise.
pub(super) async fn end_due(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: DutyId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let rows = lasting::<Entity>(scope)
        .add(Column::DutyId.eq(id.uuid()))
        .add(Column::DueTime.lte(now));
    Ok(!end_facts::<Entity>(conn, rows, now).await?.is_empty())
}

/// Lists duties that have not ended, in the order of their ids.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: Option<MemberId>,
    after: Option<DutyId>,
    limit: u64,
) -> Result<Vec<Duty>, StorageError> {
    let rows = Entity::find()
        .filter(lasting::<Entity>(scope))
        .filter(
            Condition::all()
                .add_option(member.map(|id| Column::MemberId.eq(id.uuid())))
                .add_option(after.map(|id| Column::DutyId.gt(id.uuid()))),
        )
        .order_by_asc(Column::DutyId)
        .limit(limit)
        .all(conn)
        .await?;
    duties(conn, scope.org_id(), rows).await
}

/// Lists all duties of an organization that have not ended, for the snapshot of the feed.
pub(super) async fn list_current(conn: &impl ConnectionTrait, org: OrgId) -> Result<Vec<Duty>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .filter(Column::EndTime.is_null())
        .all(conn)
        .await?;
    duties(conn, org, rows).await
}
