//! The table `appointment` and named queries over it.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{AccountId, OrgId, TypedId as _};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
    sea_query::{Expr, OnConflict},
};

use super::model::{Appointment, NewAppointment};
use entity::{ActiveModel, Column, Entity, Model};

table!(entity, "appointment", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    application_id: Uuid,
    phone: String,
    full_name: String,
    organization_display_name: String,
    create_time: DateTimeUtc,
    claim_account: Option<Uuid>,
    claim_time: Option<DateTimeUtc>,
});

impl From<Model> for Appointment {
    fn from(row: Model) -> Self {
        Self {
            org_id: OrgId::from_uuid(row.org_id),
            full_name: row.full_name,
            organization_display_name: row.organization_display_name,
            create_time: row.create_time,
        }
    }
}

/// Inserts the appointment of an organization. Does nothing if it has one.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    new: &NewAppointment,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        application_id: Set(new.application_id.uuid()),
        phone: Set(new.phone.clone()),
        full_name: Set(new.full_name.clone()),
        organization_display_name: Set(new.organization_display_name.clone()),
        create_time: Set(now),
        claim_account: Set(None),
        claim_time: Set(None),
    };
    let known = OnConflict::column(Column::OrgId).do_nothing().to_owned();
    Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

fn open(phones: &[String]) -> Condition {
    Condition::all()
        .add(Column::Phone.is_in(phones))
        .add(Column::ClaimAccount.is_null())
}

/// Lists the unclaimed appointments of these phones, in the order of their organizations. The person does
/// not know the organizations, so this has no scope.
pub(super) async fn list_open(
    conn: &impl ConnectionTrait,
    phones: &[String],
    after: Option<OrgId>,
    limit: u64,
) -> Result<Vec<Appointment>, StorageError> {
    let rows = Entity::find()
        .filter(open(phones))
        .filter(Condition::all().add_option(after.map(|id| Column::OrgId.gt(id.uuid()))))
        .order_by_asc(Column::OrgId)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(Appointment::from).collect())
}

/// Finds the unclaimed appointment of an organization for one of these phones.
pub(super) async fn find_open(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    phones: &[String],
) -> Result<Option<Appointment>, StorageError> {
    let row = Entity::find_by_id(scope.org_id().uuid())
        .filter(open(phones))
        .one(conn)
        .await?;
    Ok(row.map(Appointment::from))
}

/// Claims the appointment of an organization for an account; returns `false` if it was claimed before.
pub(super) async fn claim(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let done = Entity::update_many()
        .col_expr(Column::ClaimAccount, Expr::value(account.uuid()))
        .col_expr(Column::ClaimTime, Expr::value(now))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ClaimAccount.is_null())
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}
