//! The table `reservation` and named queries over it.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, insert_if_absent, table};
use parta_ids::{FlowId, InvitationId, JoinRequestId, MemberId, OrgId, ReservationId, TypedId as _, Uuid};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition as Where, ConnectionTrait, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use super::model::{LinkUse, Reservation, Stage};
use entity::{ActiveModel, Column, Entity, Model};

table!(entity, "reservation", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    id: Uuid,
    invitation_id: Uuid,
    flow_id: Uuid,
    issuer_id: Option<Uuid>,
    stage: String,
    member_id: Option<Uuid>,
    join_request_id: Option<Uuid>,
    refusal: Option<String>,
    create_time: DateTimeUtc,
    lease_time: DateTimeUtc,
    finish_time: Option<DateTimeUtc>,
});

const PENDING: &str = "pending";
const REQUESTED: &str = "requested";
const CONFIRMED: &str = "confirmed";
const RELEASED: &str = "released";

fn from_row(row: Model) -> Result<Reservation, StorageError> {
    let request = row.join_request_id.map(JoinRequestId::from_uuid);
    let stage = match (row.stage.as_str(), row.member_id, row.refusal) {
        (PENDING, None, None) => Stage::Pending,
        (REQUESTED, None, None) if let Some(id) = request => Stage::Requested(id),
        (CONFIRMED, Some(member), None) => Stage::Confirmed(MemberId::from_uuid(member)),
        (RELEASED, None, Some(reason)) => Stage::Released(reason),
        (other, ..) => return Err(StorageError::unknown_text("reservation.stage", other)),
    };
    Ok(Reservation {
        id: ReservationId::from_uuid(row.id),
        org_id: OrgId::from_uuid(row.org_id),
        invitation_id: InvitationId::from_uuid(row.invitation_id),
        flow_id: FlowId::from_uuid(row.flow_id),
        issuer_id: row.issuer_id.map(MemberId::from_uuid),
        stage,
    })
}

/// Inserts a pending reservation without a lease; returns `false` if this flow already has a reservation of
/// this invitation that is not released.
pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    reservation: &Reservation,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        id: Set(reservation.id.uuid()),
        invitation_id: Set(reservation.invitation_id.uuid()),
        flow_id: Set(reservation.flow_id.uuid()),
        issuer_id: Set(reservation.issuer_id.map(MemberId::uuid)),
        stage: Set(PENDING.to_owned()),
        member_id: Set(None),
        join_request_id: Set(None),
        refusal: Set(None),
        create_time: Set(now),
        lease_time: Set(now),
        finish_time: Set(None),
    };
    insert_if_absent::<Entity>(conn, row).await
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ReservationId,
) -> Result<Option<Reservation>, StorageError> {
    Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?
        .map(from_row)
        .transpose()
}

/// Finds the reservation of an invitation by a flow that is not released.
pub(crate) async fn find_by_flow(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
    flow: FlowId,
) -> Result<Option<Reservation>, StorageError> {
    Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::InvitationId.eq(invitation.uuid()))
        .filter(Column::FlowId.eq(flow.uuid()))
        .filter(Column::Stage.ne(RELEASED))
        .one(conn)
        .await?
        .map(from_row)
        .transpose()
}

fn pending(scope: &OrgScope, id: ReservationId) -> Where {
    Where::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::Id.eq(id.uuid()))
        .add(Column::Stage.eq(PENDING))
}

/// Acquires the lease of a pending reservation until `lease_time`; returns `false` if it is held or not
/// pending.
pub(crate) async fn update_leased(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ReservationId,
    now: DateTime<Utc>,
    lease_time: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let done = Entity::update_many()
        .col_expr(Column::LeaseTime, Expr::value(lease_time))
        .filter(pending(scope, id).add(Column::LeaseTime.lte(now)))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

fn undecided(scope: &OrgScope, id: ReservationId) -> Where {
    Where::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::Id.eq(id.uuid()))
        .add(Column::Stage.is_in([PENDING, REQUESTED]))
}

/// Notes the request about which staff decides; returns `false` if the reservation is no longer pending.
pub(crate) async fn update_requested(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ReservationId,
    request: JoinRequestId,
) -> Result<bool, StorageError> {
    let done = Entity::update_many()
        .col_expr(Column::Stage, Expr::value(REQUESTED))
        .col_expr(Column::JoinRequestId, Expr::value(request.uuid()))
        .filter(pending(scope, id))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Whether another reservation has this request, decided or not.
pub(crate) async fn is_request_of_another(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ReservationId,
    request: JoinRequestId,
) -> Result<bool, StorageError> {
    let row = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::JoinRequestId.eq(request.uuid()))
        .filter(Column::Id.ne(id.uuid()))
        .one(conn)
        .await?;
    Ok(row.is_some())
}

/// Finds the reservation whose request staff has to decide.
pub(crate) async fn find_by_request(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    request: JoinRequestId,
) -> Result<Option<Reservation>, StorageError> {
    Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::JoinRequestId.eq(request.uuid()))
        .filter(Column::Stage.eq(REQUESTED))
        .one(conn)
        .await?
        .map(from_row)
        .transpose()
}

/// Lists the requests after which the use was released, in all organizations.
pub(crate) async fn list_refused_requests(
    conn: &impl ConnectionTrait,
) -> Result<BTreeMap<OrgId, BTreeSet<JoinRequestId>>, StorageError> {
    let rows: Vec<(Uuid, Uuid)> = Entity::find()
        .select_only()
        .column(Column::OrgId)
        .column(Column::JoinRequestId)
        .filter(Column::Stage.eq(RELEASED))
        .filter(Column::JoinRequestId.is_not_null())
        .into_tuple()
        .all(conn)
        .await?;
    let mut requests = BTreeMap::<OrgId, BTreeSet<JoinRequestId>>::new();
    for (org, id) in rows {
        let of_org = requests.entry(OrgId::from_uuid(org)).or_default();
        of_org.insert(JoinRequestId::from_uuid(id));
    }
    Ok(requests)
}

/// Whether a use of the invitation still waits for the response of membership.
pub(crate) async fn has_pending(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
) -> Result<bool, StorageError> {
    let row = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::InvitationId.eq(invitation.uuid()))
        .filter(Column::Stage.eq(PENDING))
        .one(conn)
        .await?;
    Ok(row.is_some())
}

/// Confirms a reservation that is not decided; returns `false` if it is.
pub(crate) async fn update_confirmed(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ReservationId,
    member: MemberId,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let done = Entity::update_many()
        .col_expr(Column::Stage, Expr::value(CONFIRMED))
        .col_expr(Column::MemberId, Expr::value(member.uuid()))
        .col_expr(Column::FinishTime, Expr::value(now))
        .filter(undecided(scope, id))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Releases a reservation that is not decided; returns `false` if it is.
pub(crate) async fn update_released(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ReservationId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let done = Entity::update_many()
        .col_expr(Column::Stage, Expr::value(RELEASED))
        .col_expr(Column::Refusal, Expr::value(reason))
        .col_expr(Column::FinishTime, Expr::value(now))
        .filter(undecided(scope, id))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Releases the lease, so that the next attempt does not wait for its end.
pub(crate) async fn update_unleased(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ReservationId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::LeaseTime, Expr::value(now))
        .filter(pending(scope, id))
        .exec(conn)
        .await?;
    Ok(())
}

/// Lists the uses of an invitation, latest reservation first.
pub(crate) async fn list_uses(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
    after: Option<ReservationId>,
    limit: u64,
) -> Result<Vec<LinkUse>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::InvitationId.eq(invitation.uuid()))
        .filter(Column::Stage.eq(CONFIRMED))
        .filter(Where::all().add_option(after.map(|a| Column::Id.lt(a.uuid()))))
        .order_by_desc(Column::Id)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.iter().filter_map(to_link_use).collect())
}

/// Lists the members who joined and their invitations, for the snapshot of the feed.
pub(crate) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<(InvitationId, MemberId)>, StorageError> {
    let rows = Entity::find()
        .filter(Column::Stage.eq(CONFIRMED))
        .filter(Column::OrgId.eq(org.uuid()))
        .order_by_asc(Column::OrgId)
        .order_by_asc(Column::Id)
        .all(conn)
        .await?;
    let joined = |row: Model| {
        let invitation = InvitationId::from_uuid(row.invitation_id);
        to_link_use(&row).map(|link_use| (invitation, link_use.member_id))
    };
    Ok(rows.into_iter().filter_map(joined).collect())
}

fn to_link_use(row: &Model) -> Option<LinkUse> {
    Some(LinkUse {
        reservation_id: ReservationId::from_uuid(row.id),
        member_id: MemberId::from_uuid(row.member_id?),
        use_time: row.finish_time?,
    })
}

/// Deletes reservations that were released before a time. They belong to no organization in particular.
pub(crate) async fn delete_released(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
) -> Result<(), StorageError> {
    Entity::delete_many()
        .filter(Column::Stage.eq(RELEASED))
        .filter(Column::FinishTime.lt(before))
        .exec(conn)
        .await?;
    Ok(())
}
