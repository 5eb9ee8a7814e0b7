//! Events of organizations in the service's feed.
use parta_database::{StorageError, Tx};
use parta_ids::OrgId;
use parta_proto::duration;
use parta_proto_org_registry::v1::{
    OrganizationCreated, OrganizationUpdated, ParentInviters, Policies as PoliciesProto, PoliciesChanged,
    TeacherVerification, org_registry_event::Payload,
};

use super::{model::Organization, storage};
use crate::{error::Error, events::publish};

/// The policies of an organization as the API and the feed show them.
pub(crate) fn policies_to_proto(organization: &Organization) -> PoliciesProto {
    let policies = &organization.policies;
    let verification = if policies.verification_required {
        TeacherVerification::Required
    } else {
        TeacherVerification::Optional
    };
    let inviters = if policies.parent_inviters_class_staff {
        ParentInviters::ClassStaff
    } else {
        ParentInviters::ClassTeacher
    };
    PoliciesProto {
        teacher_verification: verification.into(),
        parent_inviters: inviters.into(),
        school_channel_open_to_families: policies.school_channel_open_to_families,
        unused_after: Some(duration(policies.unused_after)),
        version: organization.policies_version,
        history_for_newcomers: policies.history_for_newcomers.number(),
    }
}

fn creation(organization: &Organization) -> Payload {
    Payload::OrganizationCreated(OrganizationCreated {
        display_name: organization.display_name.clone(),
        kind: organization.kind.number(),
        time_zone: organization.time_zone.clone(),
        policies: Some(policies_to_proto(organization)),
    })
}

pub(super) async fn created(tx: &Tx, organization: &Organization) -> Result<(), Error> {
    publish(tx, organization.id, creation(organization)).await
}

pub(super) async fn updated(tx: &Tx, organization: &Organization) -> Result<(), Error> {
    let updated = OrganizationUpdated {
        display_name: organization.display_name.clone(),
        time_zone: organization.time_zone.clone(),
    };
    publish(tx, organization.id, Payload::OrganizationUpdated(updated)).await
}

pub(super) async fn policies_changed(tx: &Tx, organization: &Organization) -> Result<(), Error> {
    let changed = PoliciesChanged {
        policies: Some(policies_to_proto(organization)),
    };
    publish(tx, organization.id, Payload::PoliciesChanged(changed)).await
}

/// Returns the events that build the current organizations from an empty state.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let organizations = storage::list_for_snapshot(tx, org).await?;
    Ok(organizations.iter().map(creation).collect())
}
