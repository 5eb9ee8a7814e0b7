use std::sync::Arc;

use async_trait::async_trait;
use parta_database::Tx;
use parta_feed::{HandleError, Handler, Snapshot};
use parta_ids::{OrgId, TypedId, UnitId};
use parta_proto::time;
use parta_proto_org_registry::v1::{
    OrgRegistryEvent, OrganizationCreated, PoliciesChanged, UnitCreated, org_registry_event::Payload,
};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, sea_query::OnConflict};

use crate::{
    Change, Policies, RosterObserver,
    entities::{organization, unit},
    unit_kind::is_sent,
};

/// Applies the feed of org-registry.
pub struct Organizations {
    observer: Arc<dyn RosterObserver>,
}

impl Organizations {
    /// Returns a handler that notifies `observer` of every change.
    pub fn new(observer: Arc<dyn RosterObserver>) -> Self {
        Self { observer }
    }
}

pub(crate) fn id<T: TypedId>(text: &str) -> Result<T, HandleError> {
    text.parse()
        .map_err(|error| HandleError::Failed(format!("the event names no {}: {error}", T::PREFIX)))
}

#[async_trait]
impl Handler for Organizations {
    type Event = OrgRegistryEvent;

    async fn apply(&self, tx: &Tx, org: OrgId, events: &[OrgRegistryEvent]) -> Result<(), HandleError> {
        let changes = write(tx, org, events).await?;
        self.observer.changed(tx, org, &changes).await
    }

    async fn replace(
        &self,
        tx: &Tx,
        org: OrgId,
        snapshot: &Snapshot<OrgRegistryEvent>,
    ) -> Result<(), HandleError> {
        organization::Entity::update_many()
            .col_expr(organization::Column::Seen, false.into())
            .filter(organization::Column::OrgId.eq(org.uuid()))
            .exec(tx)
            .await?;
        unit::Entity::update_many()
            .col_expr(unit::Column::Seen, false.into())
            .filter(unit::Column::OrgId.eq(org.uuid()))
            .exec(tx)
            .await?;
        let mut changes = Vec::new();
        for events in snapshot.parts() {
            changes.extend(write(tx, org, &events?).await?);
        }
        unit::Entity::delete_many()
            .filter(unit::Column::OrgId.eq(org.uuid()))
            .filter(unit::Column::Seen.eq(false))
            .exec(tx)
            .await?;
        organization::Entity::delete_many()
            .filter(organization::Column::OrgId.eq(org.uuid()))
            .filter(organization::Column::Seen.eq(false))
            .exec(tx)
            .await?;
        changes.push(Change::Resynced);
        self.observer.changed(tx, org, &changes).await
    }
}

/// Writes the rows of consecutive events. Returns the changes, on which the observer acts once all rows are
/// written.
async fn write(tx: &Tx, org: OrgId, events: &[OrgRegistryEvent]) -> Result<Vec<Change>, HandleError> {
    let mut changes = Vec::new();
    for event in events {
        if let Some(payload) = &event.payload {
            changes.extend(write_one(tx, org, payload).await?);
        }
    }
    Ok(changes)
}

/// Writes the row of an event and returns what it changes.
async fn write_one(tx: &Tx, org: OrgId, payload: &Payload) -> Result<Option<Change>, HandleError> {
    let change = match payload {
        Payload::OrganizationCreated(created) => organization_created(tx, org, created).await?,
        Payload::OrganizationUpdated(updated) => {
            organization::Entity::update_many()
                .col_expr(
                    organization::Column::DisplayName,
                    updated.display_name.clone().into(),
                )
                .col_expr(organization::Column::TimeZone, updated.time_zone.clone().into())
                .filter(organization::Column::OrgId.eq(org.uuid()))
                .exec(tx)
                .await?;
            Change::OrganizationChanged
        }
        Payload::PoliciesChanged(PoliciesChanged {
            policies: Some(policies),
        }) => {
            let policies = Policies::from(policies);
            let seconds = i64::try_from(policies.unused_after.as_secs()).unwrap_or(i64::MAX);
            organization::Entity::update_many()
                .col_expr(
                    organization::Column::VerificationRequired,
                    policies.verification_required.into(),
                )
                .col_expr(
                    organization::Column::ParentInvitersClassStaff,
                    policies.parent_inviters_class_staff.into(),
                )
                .col_expr(
                    organization::Column::SchoolChannelOpenToFamilies,
                    policies.school_channel_open_to_families.into(),
                )
                .col_expr(organization::Column::UnusedAfterSeconds, seconds.into())
                .col_expr(
                    organization::Column::HistoryForNewcomers,
                    policies.history_for_newcomers.number().into(),
                )
                .filter(organization::Column::OrgId.eq(org.uuid()))
                .exec(tx)
                .await?;
            Change::OrganizationChanged
        }
        Payload::UnitCreated(created) => unit_created(tx, org, created).await?,
        Payload::UnitRenamed(renamed) => {
            let unit: UnitId = id(&renamed.unit_id)?;
            unit::Entity::update_many()
                .col_expr(unit::Column::Label, renamed.label.clone().into())
                .filter(unit::Column::OrgId.eq(org.uuid()))
                .filter(unit::Column::UnitId.eq(unit.uuid()))
                .exec(tx)
                .await?;
            Change::UnitRenamed(unit)
        }
        Payload::UnitArchived(archived) => {
            let unit: UnitId = id(&archived.unit_id)?;
            unit::Entity::update_many()
                .col_expr(unit::Column::Archived, true.into())
                .col_expr(
                    unit::Column::ArchiveTime,
                    archived.archive_time.as_ref().and_then(time).into(),
                )
                .filter(unit::Column::OrgId.eq(org.uuid()))
                .filter(unit::Column::UnitId.eq(unit.uuid()))
                .exec(tx)
                .await?;
            Change::UnitArchived(unit)
        }
        Payload::PoliciesChanged(_) => return Ok(None),
    };
    Ok(Some(change))
}

async fn organization_created(
    tx: &Tx,
    org: OrgId,
    created: &OrganizationCreated,
) -> Result<Change, HandleError> {
    let policies = created.policies.as_ref().map(Policies::from).unwrap_or_default();
    let row = organization::ActiveModel {
        org_id: Set(org.uuid()),
        display_name: Set(created.display_name.clone()),
        kind: Set(created.kind),
        time_zone: Set(created.time_zone.clone()),
        verification_required: Set(policies.verification_required),
        parent_inviters_class_staff: Set(policies.parent_inviters_class_staff),
        school_channel_open_to_families: Set(policies.school_channel_open_to_families),
        unused_after_seconds: Set(i64::try_from(policies.unused_after.as_secs()).unwrap_or(i64::MAX)),
        history_for_newcomers: Set(policies.history_for_newcomers.number()),
        seen: Set(true),
    };
    use organization::Column as C;
    // A snapshot also contains organizations that are already known.
    let known = OnConflict::column(C::OrgId)
        .update_columns([
            C::DisplayName,
            C::Kind,
            C::TimeZone,
            C::VerificationRequired,
            C::ParentInvitersClassStaff,
            C::SchoolChannelOpenToFamilies,
            C::UnusedAfterSeconds,
            C::HistoryForNewcomers,
            C::Seen,
        ])
        .to_owned();
    organization::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    Ok(Change::OrganizationCreated)
}

async fn unit_created(tx: &Tx, org: OrgId, created: &UnitCreated) -> Result<Change, HandleError> {
    let unit_id: UnitId = id(&created.unit_id)?;
    if !is_sent(created.kind) {
        return Err(HandleError::Failed("the event names no kind of unit".into()));
    }
    let row = unit::ActiveModel {
        org_id: Set(org.uuid()),
        unit_id: Set(unit_id.uuid()),
        kind: Set(created.kind),
        label: Set(created.label.clone()),
        archived: Set(created.archived),
        archive_time: Set(created.archive_time.as_ref().and_then(time)),
        seen: Set(true),
    };
    use unit::Column as C;
    let known = OnConflict::columns([C::OrgId, C::UnitId])
        .update_columns([C::Kind, C::Label, C::Archived, C::ArchiveTime, C::Seen])
        .to_owned();
    unit::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    let source = (!created.roster_import_id.is_empty())
        .then(|| (created.roster_import_id.clone(), created.source_key.clone()));
    Ok(Change::UnitCreated { unit_id, source })
}
