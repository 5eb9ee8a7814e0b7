//! Named queries over appointments of founding administrators.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{AccountId, ApplicationId, OrgId, TypedId as _};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
    sea_query::{Expr, OnConflict},
};

pub(crate) use crate::entities::appointment::Model as Appointment;
use crate::entities::appointment::{ActiveModel, Column, Entity};

/// An appointment to be kept.
#[derive(Debug, Clone)]
pub(crate) struct NewAppointment {
    pub(crate) application_id: ApplicationId,
    pub(crate) phone: String,
    pub(crate) full_name: String,
    pub(crate) organization_display_name: String,
}

/// Keeps a new appointment; an organization has one for ever.
pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    new: &NewAppointment,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
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

/// The unclaimed appointments of these phones.
pub(crate) async fn list_open(
    conn: &impl ConnectionTrait,
    phones: &[String],
    after: Option<OrgId>,
    limit: u64,
) -> Result<Vec<Appointment>, DbErr> {
    Entity::find()
        .filter(Column::Phone.is_in(phones))
        .filter(Column::ClaimAccount.is_null())
        .filter(Condition::all().add_option(after.map(|id| Column::OrgId.gt(id.uuid()))))
        .order_by_asc(Column::OrgId)
        .limit(limit)
        .all(conn)
        .await
}

/// Claims the appointment of an organization for who proved one of these phones; `None` where there is none.
pub(crate) async fn update_claimed(
    conn: &impl ConnectionTrait,
    org: OrgId,
    phones: &[String],
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<Option<Appointment>, DbErr> {
    let done = Entity::update_many()
        .col_expr(Column::ClaimAccount, Expr::value(account.uuid()))
        .col_expr(Column::ClaimTime, Expr::value(now))
        .filter(Column::OrgId.eq(org.uuid()))
        .filter(Column::Phone.is_in(phones))
        .filter(Column::ClaimAccount.is_null())
        .exec(conn)
        .await?;
    if done.rows_affected == 0 {
        return Ok(None);
    }
    Entity::find_by_id(org.uuid()).one(conn).await
}
