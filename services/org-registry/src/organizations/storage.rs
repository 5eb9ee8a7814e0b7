//! The table `organization` and named queries over it.
use std::{collections::BTreeMap, time::Duration};

use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{OrgId, TypedId as _, Uuid};
use parta_roster::{HistoryForNewcomers, Policies};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::model::{Organization, OrganizationKind};
use entity::{ActiveModel, Column, Entity, Model};

table!(entity, "organization", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    display_name: String,
    kind: i32,
    region: String,
    time_zone: String,
    ogrn: String,
    kpp: String,
    head_full_name: String,
    verification_required: bool,
    parent_inviters_class_staff: bool,
    school_channel_open_to_families: bool,
    unused_after_seconds: i64,
    history_for_newcomers: i32,
    policies_version: i64,
    create_time: DateTimeUtc,
    update_time: DateTimeUtc,
    revision: i64,
});

fn from_row(row: Model) -> Result<Organization, StorageError> {
    let kind = OrganizationKind::from_number(row.kind)
        .ok_or_else(|| StorageError::unknown_value("organization.kind", row.kind))?;
    let seconds = row.unused_after_seconds;
    let unused_after = u64::try_from(seconds)
        .map_err(|_| StorageError::unknown_value("organization.unused_after_seconds", seconds))?;
    let number = row.history_for_newcomers;
    let history_for_newcomers = HistoryForNewcomers::from_number(number)
        .ok_or_else(|| StorageError::unknown_value("organization.history_for_newcomers", number))?;
    Ok(Organization {
        id: OrgId::from_uuid(row.org_id),
        display_name: row.display_name,
        kind,
        region: row.region,
        time_zone: row.time_zone,
        ogrn: row.ogrn,
        kpp: row.kpp,
        head_full_name: row.head_full_name,
        policies: Policies {
            verification_required: row.verification_required,
            parent_inviters_class_staff: row.parent_inviters_class_staff,
            school_channel_open_to_families: row.school_channel_open_to_families,
            unused_after: Duration::from_secs(unused_after),
            history_for_newcomers,
        },
        policies_version: row.policies_version,
        create_time: row.create_time,
        update_time: row.update_time,
        revision: row.revision,
    })
}

/// Returns the row of an organization. Its id is that of the scope.
fn to_row(scope: &OrgScope, from: &Organization) -> Result<ActiveModel, StorageError> {
    let unused_after = i64::try_from(from.policies.unused_after.as_secs())
        .map_err(|error| StorageError::Fault(format!("unused_after does not fit its column: {error}")))?;
    Ok(ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        display_name: Set(from.display_name.clone()),
        kind: Set(from.kind.number()),
        region: Set(from.region.clone()),
        time_zone: Set(from.time_zone.clone()),
        ogrn: Set(from.ogrn.clone()),
        kpp: Set(from.kpp.clone()),
        head_full_name: Set(from.head_full_name.clone()),
        verification_required: Set(from.policies.verification_required),
        parent_inviters_class_staff: Set(from.policies.parent_inviters_class_staff),
        school_channel_open_to_families: Set(from.policies.school_channel_open_to_families),
        unused_after_seconds: Set(unused_after),
        history_for_newcomers: Set(from.policies.history_for_newcomers.number()),
        policies_version: Set(from.policies_version),
        create_time: Set(from.create_time),
        update_time: Set(from.update_time),
        revision: Set(from.revision),
    })
}

pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    organization: &Organization,
) -> Result<(), StorageError> {
    Entity::insert(to_row(scope, organization)?)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

pub(super) async fn update(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    organization: &Organization,
) -> Result<(), StorageError> {
    Entity::update(to_row(scope, organization)?).exec(conn).await?;
    Ok(())
}

/// Loads the organization of the scope.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<Option<Organization>, StorageError> {
    let row = Entity::find_by_id(scope.org_id().uuid()).one(conn).await?;
    row.map(from_row).transpose()
}

/// Loads the organization of the scope and locks its row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
) -> Result<Option<Organization>, StorageError> {
    let row = Entity::find_by_id(scope.org_id().uuid())
        .lock_exclusive()
        .one(conn)
        .await?;
    row.map(from_row).transpose()
}

/// Lists organizations in the order of their ids, after a key. Only the operator lists them.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    after: Option<OrgId>,
    limit: u64,
) -> Result<Vec<Organization>, StorageError> {
    let rows = Entity::find()
        .filter(Condition::all().add_option(after.map(|id| Column::OrgId.gt(id.uuid()))))
        .order_by_asc(Column::OrgId)
        .limit(limit)
        .all(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Lists the organization, if it exists, for the snapshot of the feed.
pub(super) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<Organization>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .order_by_asc(Column::OrgId)
        .all(conn)
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Returns the versions of the policies of these organizations.
pub(crate) async fn policies_versions(
    conn: &impl ConnectionTrait,
    organizations: impl IntoIterator<Item = OrgId>,
) -> Result<BTreeMap<OrgId, i64>, StorageError> {
    let rows: Vec<(Uuid, i64)> = Entity::find()
        .select_only()
        .column(Column::OrgId)
        .column(Column::PoliciesVersion)
        .filter(Column::OrgId.is_in(organizations.into_iter().map(OrgId::uuid)))
        .into_tuple()
        .all(conn)
        .await?;
    let versions = rows.into_iter();
    Ok(versions
        .map(|(id, version)| (OrgId::from_uuid(id), version))
        .collect())
}
