//! Applications. They belong to no organization yet: only the operator's RPCs reach these queries.

use parta_ids::{ApplicationId, OrgId, TypedId as _};
use parta_proto::parta::org_registry::v1::{ApplicationState, OrganizationKind};
use parta_storage::{StorageError, Tx};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::model::{Application, Form, Order, Step};
use crate::{
    entities::{application, chunk, step},
    error::Error,
};

/// What one row of a document holds: small enough for any driver's buffer, large enough to be few.
const CHUNK: usize = 256 * 1024;

pub(crate) async fn insert(tx: &Tx, made: &Application, document: &[u8]) -> Result<(), Error> {
    let form = &made.form;
    let row = application::ActiveModel {
        application_id: Set(made.id.uuid()),
        state: Set(made.state.into()),
        organization_name: Set(form.organization_name.clone()),
        kind: Set(form.kind.into()),
        region: Set(form.region.clone()),
        ogrn: Set(form.ogrn.clone()),
        kpp: Set(form.kpp.clone()),
        time_zone: Set(form.time_zone.clone()),
        head_full_name: Set(form.head_full_name.clone()),
        administrator_full_name: Set(form.administrator_full_name.clone()),
        administrator_email: Set(form.administrator_email.clone()),
        administrator_phone: Set(form.administrator_phone.clone()),
        order_file_name: Set(made.order.file_name.clone()),
        order_content_type: Set(made.order.content_type.to_owned()),
        order_size_bytes: Set(made.order.size_bytes),
        order_sha256: Set(made.order.sha256.clone()),
        org_id: Set(None),
        create_time: Set(made.create_time),
        revision: Set(made.revision),
    };
    match application::Entity::insert(row)
        .exec_without_returning(tx)
        .await
        .map_err(StorageError::from)
    {
        Ok(_) => {}
        Err(StorageError::UniqueViolation { .. }) => return Err(Error::Duplicate),
        Err(error) => return Err(error.into()),
    }
    for (number, bytes) in (0..).zip(document.chunks(CHUNK)) {
        let row = chunk::ActiveModel {
            application_id: Set(made.id.uuid()),
            number: Set(number),
            bytes: Set(bytes.to_vec()),
        };
        chunk::Entity::insert(row).exec_without_returning(tx).await?;
    }
    Ok(())
}

pub(crate) async fn insert_step(tx: &Tx, id: ApplicationId, made: &Step) -> Result<(), Error> {
    let count = step::Entity::find()
        .filter(step::Column::ApplicationId.eq(id.uuid()))
        .count(tx)
        .await?;
    let row = step::ActiveModel {
        application_id: Set(id.uuid()),
        number: Set(i64::try_from(count).unwrap_or(i64::MAX)),
        state: Set(made.state.into()),
        actor: Set(made.actor.clone()),
        reason: Set(made.reason.clone()),
        change_time: Set(made.change_time),
    };
    step::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

pub(crate) async fn list_steps(conn: &impl ConnectionTrait, id: ApplicationId) -> Result<Vec<Step>, Error> {
    let rows = step::Entity::find()
        .filter(step::Column::ApplicationId.eq(id.uuid()))
        .order_by_asc(step::Column::Number)
        .all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| Step {
            state: ApplicationState::try_from(row.state).unwrap_or_default(),
            actor: row.actor,
            reason: row.reason,
            change_time: row.change_time,
        })
        .collect())
}

pub(crate) async fn get(conn: &impl ConnectionTrait, id: ApplicationId) -> Result<Application, Error> {
    let row = application::Entity::find_by_id(id.uuid()).one(conn).await?;
    Ok(model(row.ok_or(Error::UnknownApplication(id))?))
}

/// The same, locked until the transaction ends, so that two operators do not decide at once.
pub(crate) async fn get_for_update(tx: &Tx, id: ApplicationId) -> Result<Application, Error> {
    let row = application::Entity::find_by_id(id.uuid())
        .lock_exclusive()
        .one(tx)
        .await?;
    Ok(model(row.ok_or(Error::UnknownApplication(id))?))
}

pub(crate) async fn update_state(tx: &Tx, decided: &Application) -> Result<(), Error> {
    application::Entity::update_many()
        .col_expr(application::Column::State, i32::from(decided.state).into())
        .col_expr(application::Column::OrgId, decided.org_id.map(OrgId::uuid).into())
        .col_expr(application::Column::Revision, decided.revision.into())
        .filter(application::Column::ApplicationId.eq(decided.id.uuid()))
        .exec(tx)
        .await?;
    Ok(())
}

pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    state: Option<ApplicationState>,
    after: Option<ApplicationId>,
    limit: u64,
) -> Result<Vec<Application>, Error> {
    let mut query = application::Entity::find();
    if let Some(state) = state {
        query = query.filter(application::Column::State.eq(i32::from(state)));
    }
    if let Some(after) = after {
        query = query.filter(application::Column::ApplicationId.gt(after.uuid()));
    }
    let rows = query
        .order_by_asc(application::Column::ApplicationId)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(model).collect())
}

/// One row of the document; `None` behind the last.
pub(crate) async fn find_chunk(
    conn: &impl ConnectionTrait,
    id: ApplicationId,
    number: i64,
) -> Result<Option<Vec<u8>>, Error> {
    Ok(chunk::Entity::find_by_id((id.uuid(), number))
        .one(conn)
        .await?
        .map(|row| row.bytes))
}

fn model(row: application::Model) -> Application {
    Application {
        id: ApplicationId::from_uuid(row.application_id),
        state: ApplicationState::try_from(row.state).unwrap_or_default(),
        form: Form {
            organization_name: row.organization_name,
            kind: OrganizationKind::try_from(row.kind).unwrap_or_default(),
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
            content_type: match row.order_content_type.as_str() {
                "image/jpeg" => "image/jpeg",
                "image/png" => "image/png",
                _ => "application/pdf",
            },
            size_bytes: row.order_size_bytes,
            sha256: row.order_sha256,
        },
        org_id: row.org_id.map(OrgId::from_uuid),
        create_time: row.create_time,
        revision: row.revision,
    }
}
