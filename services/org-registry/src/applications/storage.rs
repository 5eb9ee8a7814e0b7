//! The tables of applications and named queries over them.
use parta_database::{StorageError, table};
use parta_ids::{ApplicationId, OrgId, TypedId as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::model::{Application, ApplicationState, ContentType, Form, Order, StateChange};
use crate::organizations::OrganizationKind;

/// Bytes of the order in one row.
const CHUNK_BYTES: usize = 256 * 1024;

table!(application, "application", {
    #[sea_orm(primary_key, auto_increment = false)]
    application_id: Uuid,
    state: i32,
    organization_name: String,
    kind: i32,
    region: String,
    ogrn: String,
    kpp: String,
    time_zone: String,
    head_full_name: String,
    administrator_full_name: String,
    administrator_email: String,
    administrator_phone: String,
    order_file_name: String,
    order_content_type: String,
    order_size_bytes: i64,
    order_sha256: String,
    org_id: Option<Uuid>,
    create_time: DateTimeUtc,
    revision: i64,
});

table!(change, "application_step", {
    #[sea_orm(primary_key, auto_increment = false)]
    application_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    number: i64,
    state: i32,
    actor: String,
    reason: String,
    change_time: DateTimeUtc,
});

table!(chunk, "application_chunk", {
    #[sea_orm(primary_key, auto_increment = false)]
    application_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    number: i64,
    #[sea_orm(column_type = "Blob")]
    bytes: Vec<u8>,
});

fn state(column: &'static str, number: i32) -> Result<ApplicationState, StorageError> {
    ApplicationState::from_number(number).ok_or_else(|| StorageError::unknown_value(column, number))
}

fn content_type(text: &str) -> Result<ContentType, StorageError> {
    // The error contains the length of the text and not the text itself, because it would be logged.
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    ContentType::from_text(text)
        .ok_or_else(|| StorageError::unknown_value("application.order_content_type", length))
}

fn from_row(row: application::Model) -> Result<Application, StorageError> {
    let kind = OrganizationKind::from_number(row.kind)
        .ok_or_else(|| StorageError::unknown_value("application.kind", row.kind))?;
    Ok(Application {
        id: ApplicationId::from_uuid(row.application_id),
        state: state("application.state", row.state)?,
        form: Form {
            organization_name: row.organization_name,
            kind,
            region: row.region,
            ogrn: row.ogrn,
            kpp: row.kpp,
            time_zone: row.time_zone,
            head_full_name: row.head_full_name,
            administrator_full_name: row.administrator_full_name,
            administrator_email: row.administrator_email,
            administrator_phone: row.administrator_phone,
        },
        order: Order {
            file_name: row.order_file_name,
            content_type: content_type(&row.order_content_type)?,
            size_bytes: row.order_size_bytes,
            sha256: row.order_sha256,
        },
        org_id: row.org_id.map(OrgId::from_uuid),
        create_time: row.create_time,
        revision: row.revision,
    })
}

/// Inserts an application; returns `false` if one of the same organization is not refused.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    application: &Application,
) -> Result<bool, StorageError> {
    let (form, order) = (&application.form, &application.order);
    let row = application::ActiveModel {
        application_id: Set(application.id.uuid()),
        state: Set(application.state.number()),
        organization_name: Set(form.organization_name.clone()),
        kind: Set(form.kind.number()),
        region: Set(form.region.clone()),
        ogrn: Set(form.ogrn.clone()),
        kpp: Set(form.kpp.clone()),
        time_zone: Set(form.time_zone.clone()),
        head_full_name: Set(form.head_full_name.clone()),
        administrator_full_name: Set(form.administrator_full_name.clone()),
        administrator_email: Set(form.administrator_email.clone()),
        administrator_phone: Set(form.administrator_phone.clone()),
        order_file_name: Set(order.file_name.clone()),
        order_content_type: Set(order.content_type.text().to_owned()),
        order_size_bytes: Set(order.size_bytes),
        order_sha256: Set(order.sha256.clone()),
        org_id: Set(application.org_id.map(OrgId::uuid)),
        create_time: Set(application.create_time),
        revision: Set(application.revision),
    };
    let inserted = application::Entity::insert(row)
        .exec_without_returning(conn)
        .await;
    match inserted.map_err(StorageError::from) {
        Ok(_) => Ok(true),
        Err(StorageError::UniqueViolation { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Inserts the order of an application in rows of at most 256 KiB.
pub(super) async fn insert_order(
    conn: &impl ConnectionTrait,
    id: ApplicationId,
    document: &[u8],
) -> Result<(), StorageError> {
    for (number, bytes) in (0..).zip(document.chunks(CHUNK_BYTES)) {
        let row = chunk::ActiveModel {
            application_id: Set(id.uuid()),
            number: Set(number),
            bytes: Set(bytes.to_vec()),
        };
        chunk::Entity::insert(row).exec_without_returning(conn).await?;
    }
    Ok(())
}

/// Loads one row of the order; `None` after the last.
pub(super) async fn find_chunk(
    conn: &impl ConnectionTrait,
    id: ApplicationId,
    number: i64,
) -> Result<Option<Vec<u8>>, StorageError> {
    let row = chunk::Entity::find_by_id((id.uuid(), number)).one(conn).await?;
    Ok(row.map(|row| row.bytes))
}

/// Appends a change to the history of an application, whose row the transaction has inserted or locked.
pub(super) async fn insert_change(
    conn: &impl ConnectionTrait,
    id: ApplicationId,
    new_change: &StateChange,
) -> Result<(), StorageError> {
    let count = change::Entity::find()
        .filter(change::Column::ApplicationId.eq(id.uuid()))
        .count(conn)
        .await?;
    let row = change::ActiveModel {
        application_id: Set(id.uuid()),
        number: Set(count.cast_signed()),
        state: Set(new_change.state.number()),
        actor: Set(new_change.actor.clone()),
        reason: Set(new_change.reason.clone()),
        change_time: Set(new_change.change_time),
    };
    change::Entity::insert(row).exec_without_returning(conn).await?;
    Ok(())
}

/// Lists the history of an application, oldest change first.
pub(super) async fn list_changes(
    conn: &impl ConnectionTrait,
    id: ApplicationId,
) -> Result<Vec<StateChange>, StorageError> {
    let rows = change::Entity::find()
        .filter(change::Column::ApplicationId.eq(id.uuid()))
        .order_by_asc(change::Column::Number)
        .all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(StateChange {
                state: state("application_step.state", row.state)?,
                actor: row.actor,
                reason: row.reason,
                change_time: row.change_time,
            })
        })
        .collect()
}

/// Loads an application, decided or not.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    id: ApplicationId,
) -> Result<Option<Application>, StorageError> {
    let row = application::Entity::find_by_id(id.uuid()).one(conn).await?;
    row.map(from_row).transpose()
}

/// Loads an application, decided or not, and locks its row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    id: ApplicationId,
) -> Result<Option<Application>, StorageError> {
    let row = application::Entity::find_by_id(id.uuid())
        .lock_exclusive()
        .one(conn)
        .await?;
    row.map(from_row).transpose()
}

pub(super) async fn update_state(
    conn: &impl ConnectionTrait,
    decided: &Application,
) -> Result<(), StorageError> {
    application::Entity::update_many()
        .col_expr(application::Column::State, decided.state.number().into())
        .col_expr(application::Column::OrgId, decided.org_id.map(OrgId::uuid).into())
        .col_expr(application::Column::Revision, decided.revision.into())
        .filter(application::Column::ApplicationId.eq(decided.id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Lists applications in the order of their ids, after a key.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    state: Option<ApplicationState>,
    after: Option<ApplicationId>,
    limit: u64,
) -> Result<Vec<Application>, StorageError> {
    let filter = Condition::all()
        .add_option(state.map(|state| application::Column::State.eq(state.number())))
        .add_option(after.map(|id| application::Column::ApplicationId.gt(id.uuid())));
    let rows = application::Entity::find()
        .filter(filter)
        .order_by_asc(application::Column::ApplicationId)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}
