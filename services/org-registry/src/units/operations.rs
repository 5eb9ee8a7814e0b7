//! Making, renaming and archiving units (R5).

use parta_access::{Caller, OrgScope, authorize};
use parta_ids::{OrgId, UnitId};
use parta_proto::parta::org_registry::v1::{
    self as pb, OrganizationKind, UnitArchived, UnitKind, UnitRenamed, org_registry_event::Payload,
};
use parta_storage::{Mutation, Tx, check_etag};

use super::{
    policy,
    storage::{self as units, Source},
};
use crate::{
    applications::{model::Unit, operations::unit_created},
    context::{App, announce},
    convert,
    error::Error,
    organizations::storage as organizations,
};

impl App {
    pub(crate) async fn create_unit(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        kind: UnitKind,
        label: &str,
    ) -> Result<pb::CreateUnitResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let scope = &authorize(caller, org, policy::structure(&facts))?;
        self.db
            .mutate(mutation, |tx| async move {
                let owner = organizations::get(&tx, scope).await?;
                if owner.kind == OrganizationKind::Partner && kind != UnitKind::Department {
                    return Err(Error::KindNotOffered);
                }
                free(&tx, scope, kind, label, None).await?;
                let unit = Unit {
                    id: tx.env().id::<UnitId>(),
                    org_id: org,
                    kind,
                    label: label.to_owned(),
                    create_time: tx.now(),
                    archive_time: None,
                    revision: 1,
                };
                units::insert(&tx, scope, &unit, &Source::default()).await?;
                announce(&tx, org, unit_created(&unit, &Source::default())).await?;
                parta_audit::record(
                    &tx,
                    caller,
                    Some(org),
                    format!("organizations/{org}/units/{}", unit.id),
                )
                .await?;
                Ok(pb::CreateUnitResponse {
                    unit: Some(convert::unit(&unit)),
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn rename_unit(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: UnitId,
        label: &str,
        etag: &str,
    ) -> Result<pb::RenameUnitResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let scope = &authorize(caller, org, policy::structure(&facts))?;
        self.db
            .mutate(mutation, |tx| async move {
                let mut unit = changeable(&tx, scope, id, etag).await?;
                free(&tx, scope, unit.kind, label, Some(id)).await?;
                unit.label = label.to_owned();
                unit.revision += 1;
                units::update(&tx, scope, &unit).await?;
                let event = UnitRenamed {
                    unit_id: id.to_string(),
                    label: unit.label.clone(),
                };
                announce(&tx, org, Payload::UnitRenamed(event)).await?;
                parta_audit::record(&tx, caller, Some(org), format!("organizations/{org}/units/{id}"))
                    .await?;
                Ok::<_, Error>(pb::RenameUnitResponse {
                    unit: Some(convert::unit(&unit)),
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn archive_unit(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: UnitId,
        etag: &str,
    ) -> Result<pb::ArchiveUnitResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let scope = &authorize(caller, org, policy::structure(&facts))?;
        self.db
            .mutate(mutation, |tx| async move {
                let mut unit = changeable(&tx, scope, id, etag).await?;
                unit.archive_time = Some(tx.now());
                unit.revision += 1;
                units::update(&tx, scope, &unit).await?;
                announce(
                    &tx,
                    org,
                    Payload::UnitArchived(UnitArchived {
                        unit_id: id.to_string(),
                    }),
                )
                .await?;
                parta_audit::record(&tx, caller, Some(org), format!("organizations/{org}/units/{id}"))
                    .await?;
                Ok::<_, Error>(pb::ArchiveUnitResponse {
                    unit: Some(convert::unit(&unit)),
                    ..Default::default()
                })
            })
            .await
    }
}

/// Refuses a label that another living unit of the kind has.
async fn free(
    tx: &Tx,
    scope: &OrgScope,
    kind: UnitKind,
    label: &str,
    own: Option<UnitId>,
) -> Result<(), Error> {
    match units::find_by_label(tx, scope, kind, label).await? {
        Some(other) if Some(other) != own => Err(Error::LabelTaken(other)),
        _ => Ok(()),
    }
}

async fn changeable(tx: &Tx, scope: &OrgScope, id: UnitId, etag: &str) -> Result<Unit, Error> {
    let unit = units::find_for_update(tx, scope, id)
        .await?
        .ok_or(Error::UnknownUnit(id))?;
    if unit.kind == UnitKind::StaffRoom {
        return Err(Error::StaffRoomFixed);
    }
    if unit.archive_time.is_some() {
        return Err(Error::Archived(id));
    }
    check_etag(etag, unit.revision)?;
    Ok(unit)
}
