//! The tables `call` and `call_participant`, and named queries over them.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use parta_access::OrgScope;
use parta_database::StorageError;
use parta_ids::{CallId, MemberId, OrgId, TypedId as _, UnitId, Uuid};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition as Where, ConnectionTrait, EntityTrait as _,
    ExprTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use super::entities::{
    call::{ActiveModel, Column, Entity, Model},
    participant,
};
use crate::{
    calls::model::{Call, CancelReason, Cancellation, Draft, Format, Kind},
    recurrence::{End, Schedule, Slot, Weekly},
};

/// Returns the error for a field that cannot be converted between its column and its type.
fn invalid_field(field: &str) -> StorageError {
    StorageError::Fault(format!("the {field} of a call cannot be encoded or decoded"))
}

fn recurrence_from_row(row: &Model) -> Result<Option<Weekly>, StorageError> {
    let end = match (row.until_date, row.occurrence_count) {
        (Some(date), None) => End::Until(date),
        (None, Some(count)) => {
            let known = u32::try_from(count).ok().filter(|count| *count > 0);
            End::Count(known.ok_or_else(|| StorageError::unknown_value("call.occurrence_count", count))?)
        }
        (None, None) if row.interval_weeks.is_none() => return Ok(None),
        _ => return Err(invalid_field("end of the recurrence")),
    };
    let stored = row.interval_weeks.ok_or_else(|| invalid_field("interval"))?;
    let interval = u16::try_from(stored).ok().filter(|interval| *interval > 0);
    let interval = interval.ok_or_else(|| StorageError::unknown_value("call.interval_weeks", stored))?;
    Ok(Some(Weekly { interval, end }))
}

fn from_row(row: Model, participants: Vec<MemberId>) -> Result<Call, StorageError> {
    let weekly = recurrence_from_row(&row)?;
    let kind = Kind::from_number(row.kind.into())
        .ok_or_else(|| StorageError::unknown_value("call.kind", row.kind))?;
    let format = Format::from_number(row.format)
        .ok_or_else(|| StorageError::unknown_value("call.format", row.format))?;
    if row.duration_minutes <= 0 {
        return Err(StorageError::unknown_value(
            "call.duration_minutes",
            row.duration_minutes,
        ));
    }
    let canceled = match (row.cancel_time, row.cancel_reason) {
        (None, _) => None,
        (Some(time), Some(number)) => {
            let reason = CancelReason::from_number(number)
                .ok_or_else(|| StorageError::unknown_value("call.cancel_reason", number))?;
            Some(Cancellation { time, reason })
        }
        (Some(_), None) => return Err(invalid_field("reason of the cancellation")),
    };
    Ok(Call {
        id: CallId::from_uuid(row.id),
        draft: Draft {
            org_id: OrgId::from_uuid(row.org_id),
            unit_id: UnitId::from_uuid(row.unit_id),
            title: row.title,
            kind,
            format,
            room: row.room,
            participants,
        },
        unit_is_class: row.of_class,
        organizer_id: MemberId::from_uuid(row.organizer_id),
        schedule: Schedule {
            start: row.start_civil_time,
            zone: row.time_zone.parse().map_err(|_| invalid_field("time zone"))?,
            duration: TimeDelta::minutes(row.duration_minutes.into()),
            weekly,
        },
        announced: row.announced,
        canceled,
        create_time: row.create_time,
        revision: row.revision,
    })
}

/// Inserts a call with the span of its occurrences. Its organization is the scope's.
pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    call: &Call,
    slots: &[Slot],
) -> Result<(), StorageError> {
    let (first, last) = slots
        .first()
        .zip(slots.last())
        .ok_or_else(|| invalid_field("first occurrence"))?;
    let weekly = call.schedule.weekly;
    let (until, count) = match weekly.map(|w| w.end) {
        Some(End::Until(date)) => (Some(date), None),
        Some(End::Count(count)) => (None, Some(count.cast_signed())),
        None => (None, None),
    };
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        id: Set(call.id.uuid()),
        unit_id: Set(call.draft.unit_id.uuid()),
        of_class: Set(call.unit_is_class),
        title: Set(call.draft.title.clone()),
        kind: Set(call.draft.kind.number()),
        format: Set(call.draft.format.number()),
        room: Set(call.draft.room.clone()),
        organizer_id: Set(call.organizer_id.uuid()),
        start_civil_time: Set(call.schedule.start),
        time_zone: Set(call.schedule.zone.name().to_owned()),
        duration_minutes: Set(
            i32::try_from(call.schedule.duration.num_minutes()).map_err(|_| invalid_field("duration"))?
        ),
        interval_weeks: Set(weekly.map(|w| w.interval.cast_signed())),
        until_date: Set(until),
        occurrence_count: Set(count),
        first_start_time: Set(first.start),
        last_end_time: Set(last.end),
        announced: Set(call.announced),
        create_time: Set(call.create_time),
        cancel_time: Set(call.canceled.map(|canceled| canceled.time)),
        cancel_reason: Set(call.canceled.map(|canceled| canceled.reason.number())),
        revision: Set(call.revision),
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    let participants = call
        .draft
        .participants
        .iter()
        .map(|member| participant::ActiveModel {
            org_id: Set(scope.org_id().uuid()),
            call_id: Set(call.id.uuid()),
            member_id: Set(member.uuid()),
        });
    let participants: Vec<_> = participants.collect();
    if !participants.is_empty() {
        participant::Entity::insert_many(participants)
            .exec_without_returning(conn)
            .await?;
    }
    Ok(())
}

async fn with_participants(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    rows: Vec<Model>,
) -> Result<Vec<Call>, StorageError> {
    let mut by_call: BTreeMap<_, Vec<MemberId>> = BTreeMap::new();
    // A statement has a limited number of parameters.
    for chunk in rows.chunks(500) {
        let found = participant::Entity::find()
            .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
            .filter(participant::Column::CallId.is_in(chunk.iter().map(|r| r.id)))
            .order_by_asc(participant::Column::MemberId)
            .all(conn)
            .await?;
        for row in found {
            by_call
                .entry(row.call_id)
                .or_default()
                .push(MemberId::from_uuid(row.member_id));
        }
    }
    rows.into_iter()
        .map(|row| {
            let participants = by_call.remove(&row.id).unwrap_or_default();
            from_row(row, participants)
        })
        .collect()
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: CallId,
) -> Result<Option<Call>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    Ok(with_participants(conn, scope, row.into_iter().collect())
        .await?
        .pop())
}

/// Loads a call and locks its row until the transaction ends.
pub(crate) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: CallId,
) -> Result<Option<Call>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    Ok(with_participants(conn, scope, row.into_iter().collect())
        .await?
        .pop())
}

/// The calls that a list selects.
#[derive(Debug, Clone)]
pub(crate) enum VisibleCalls {
    /// All calls of the organization.
    All,
    /// Calls of these units, those that this member organizes, and of those of the units of the staff all for
    /// staff, and the events of the whole organization for others.
    Units {
        units: BTreeSet<UnitId>,
        organizer: MemberId,
        staff: bool,
    },
}

/// Lists the calls that may have an occurrence within the time window.
pub(crate) async fn list_in_window(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    visible: &VisibleCalls,
    unit: Option<UnitId>,
    window: (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<Call>, StorageError> {
    let visible = match visible {
        VisibleCalls::All => Where::all(),
        VisibleCalls::Units {
            units,
            organizer,
            staff,
        } => Where::any()
            .add(Column::UnitId.is_in(units.iter().map(|u| u.uuid())))
            .add(Column::OrganizerId.eq(organizer.uuid()))
            .add(
                Where::all()
                    .add(Column::OfClass.eq(false))
                    .add_option((!staff).then(|| Column::Kind.is_in(Kind::of_the_organization()))),
            ),
    };
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::LastEndTime.gt(window.0))
        .filter(Column::FirstStartTime.lt(window.1))
        .filter(Where::all().add_option(unit.map(|u| Column::UnitId.eq(u.uuid()))))
        .filter(visible)
        .order_by_asc(Column::Id)
        .all(conn)
        .await?;
    with_participants(conn, scope, rows).await
}

fn by_id(scope: &OrgScope, id: CallId) -> Where {
    Where::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::Id.eq(id.uuid()))
}

/// Cancels the call; returns `false` if it was canceled before.
pub(crate) async fn update_canceled(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: CallId,
    canceled: Cancellation,
) -> Result<bool, StorageError> {
    let done = Entity::update_many()
        .col_expr(Column::CancelTime, Expr::value(canceled.time))
        .col_expr(Column::CancelReason, Expr::value(canceled.reason.number()))
        .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
        .filter(by_id(scope, id).add(Column::CancelTime.is_null()))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Locks the calls of a unit that are not canceled and have an occurrence that begins after this time, in the
/// order of their keys.
pub(crate) async fn lock_future(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    unit: UnitId,
    now: DateTime<Utc>,
) -> Result<Vec<CallId>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::UnitId.eq(unit.uuid()))
        .filter(Column::LastEndTime.gt(now))
        .filter(Column::CancelTime.is_null())
        .order_by_asc(Column::Id)
        .lock_exclusive()
        .all(conn)
        .await?;
    let begins_later =
        |row: &Model| row.last_end_time - TimeDelta::minutes(row.duration_minutes.into()) > now;
    let rows = rows.iter().filter(|row| begins_later(row));
    Ok(rows.map(|row| CallId::from_uuid(row.id)).collect())
}

/// Marks the call as announced; returns `false` if it was announced before.
pub(crate) async fn update_announced(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: CallId,
) -> Result<bool, StorageError> {
    let done = Entity::update_many()
        .col_expr(Column::Announced, Expr::value(true))
        .col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
        .filter(by_id(scope, id).add(Column::Announced.eq(false)))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// A call in the snapshot of the feed.
pub(crate) struct CallSummary {
    pub(crate) call_id: CallId,
    pub(crate) unit_id: UnitId,
    /// The start of the first occurrence.
    pub(crate) start_time: DateTime<Utc>,
    pub(crate) canceled: bool,
}

/// Lists the calls of an organization, for the snapshot of the feed.
pub(crate) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<CallSummary>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .order_by_asc(Column::OrgId)
        .order_by_asc(Column::Id)
        .all(conn)
        .await?;
    let summary = |row: Model| CallSummary {
        call_id: CallId::from_uuid(row.id),
        unit_id: UnitId::from_uuid(row.unit_id),
        start_time: row.first_start_time,
        canceled: row.cancel_time.is_some(),
    };
    Ok(rows.into_iter().map(summary).collect())
}

/// Lists those of the calls that name one of these members as a participant.
pub(crate) async fn list_naming(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    calls: &[CallId],
    members: &[MemberId],
) -> Result<Vec<CallId>, StorageError> {
    let rows: Vec<Uuid> = participant::Entity::find()
        .select_only()
        .column(participant::Column::CallId)
        .distinct()
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::CallId.is_in(calls.iter().map(|id| id.uuid())))
        .filter(participant::Column::MemberId.is_in(members.iter().map(|id| id.uuid())))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(CallId::from_uuid).collect())
}
