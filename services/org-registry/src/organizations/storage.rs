use std::time::Duration;

use parta_access::OrgScope;
use parta_ids::{OrgId, TypedId as _};
use parta_proto::parta::org_registry::v1::OrganizationKind;
use parta_roster::Policies;
use parta_storage::Tx;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::{
    applications::model::Organization,
    entities::organization::{self, ActiveModel, Column, Entity},
    error::Error,
};

pub(crate) async fn insert(tx: &Tx, made: &Organization) -> Result<(), Error> {
    Entity::insert(active(made)).exec_without_returning(tx).await?;
    Ok(())
}

pub(crate) async fn update(tx: &Tx, scope: &OrgScope, changed: &Organization) -> Result<(), Error> {
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        ..active(changed)
    };
    Entity::update(row).exec(tx).await?;
    Ok(())
}

pub(crate) async fn get(conn: &impl ConnectionTrait, scope: &OrgScope) -> Result<Organization, Error> {
    let id = scope.org_id();
    let row = Entity::find_by_id(id.uuid()).one(conn).await?;
    Ok(model(row.ok_or(Error::UnknownOrganization(id))?))
}

/// The same, locked until the transaction ends.
pub(crate) async fn get_for_update(tx: &Tx, scope: &OrgScope) -> Result<Organization, Error> {
    let id = scope.org_id();
    let row = Entity::find_by_id(id.uuid()).lock_exclusive().one(tx).await?;
    Ok(model(row.ok_or(Error::UnknownOrganization(id))?))
}

/// Organizations for the operator and for snapshots of the feed.
pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    only: Option<OrgId>,
    after: Option<OrgId>,
    limit: u64,
) -> Result<Vec<Organization>, Error> {
    let mut query = Entity::find();
    if let Some(only) = only {
        query = query.filter(Column::OrgId.eq(only.uuid()));
    }
    if let Some(after) = after {
        query = query.filter(Column::OrgId.gt(after.uuid()));
    }
    let rows = query.order_by_asc(Column::OrgId).limit(limit).all(conn).await?;
    Ok(rows.into_iter().map(model).collect())
}

fn active(from: &Organization) -> ActiveModel {
    ActiveModel {
        org_id: Set(from.id.uuid()),
        display_name: Set(from.display_name.clone()),
        kind: Set(from.kind.into()),
        region: Set(from.region.clone()),
        time_zone: Set(from.time_zone.clone()),
        ogrn: Set(from.ogrn.clone()),
        kpp: Set(from.kpp.clone()),
        head_full_name: Set(from.head_full_name.clone()),
        verification_required: Set(from.policies.verification_required),
        parent_inviters_class_staff: Set(from.policies.parent_inviters_class_staff),
        school_channel_open_to_families: Set(from.policies.school_channel_open_to_families),
        unused_after_seconds: Set(i64::try_from(from.policies.unused_after.as_secs()).unwrap_or(i64::MAX)),
        policies_version: Set(from.policies_version),
        create_time: Set(from.create_time),
        update_time: Set(from.update_time),
        revision: Set(from.revision),
    }
}

fn model(row: organization::Model) -> Organization {
    Organization {
        id: OrgId::from_uuid(row.org_id),
        display_name: row.display_name,
        kind: OrganizationKind::try_from(row.kind).unwrap_or_default(),
        region: row.region,
        time_zone: row.time_zone,
        ogrn: row.ogrn,
        kpp: row.kpp,
        head_full_name: row.head_full_name,
        policies: Policies {
            verification_required: row.verification_required,
            parent_inviters_class_staff: row.parent_inviters_class_staff,
            school_channel_open_to_families: row.school_channel_open_to_families,
            unused_after: Duration::from_secs(u64::try_from(row.unused_after_seconds).unwrap_or(0)),
        },
        policies_version: row.policies_version,
        create_time: row.create_time,
        update_time: row.update_time,
        revision: row.revision,
    }
}
