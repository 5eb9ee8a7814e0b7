//! Data and policies of an organization (R4, R9).

use parta_access::{Caller, authorize};
use parta_ids::OrgId;
use parta_proto::parta::org_registry::v1::{
    self as pb, OrganizationUpdated, PoliciesChanged, org_registry_event::Payload,
};
use parta_roster::Policies;
use parta_storage::{Mutation, check_etag};

use super::storage as organizations;
use crate::{
    context::{App, announce},
    convert,
    error::Error,
    units::policy,
};

/// The descriptive fields to change; `None` stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Update {
    pub(crate) display_name: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) time_zone: Option<String>,
}

impl App {
    pub(crate) async fn update_organization(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        update: Update,
        etag: &str,
    ) -> Result<pb::UpdateOrganizationResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let (scope, update) = (&authorize(caller, org, policy::administer(&facts))?, &update);
        self.db
            .mutate(mutation, |tx| async move {
                let mut changed = organizations::get_for_update(&tx, scope).await?;
                check_etag(etag, changed.revision)?;
                for (field, value) in [
                    (&mut changed.display_name, &update.display_name),
                    (&mut changed.region, &update.region),
                    (&mut changed.time_zone, &update.time_zone),
                ] {
                    if let Some(value) = value {
                        field.clone_from(value);
                    }
                }
                changed.update_time = tx.now();
                changed.revision += 1;
                organizations::update(&tx, scope, &changed).await?;
                let event = OrganizationUpdated {
                    display_name: changed.display_name.clone(),
                    time_zone: changed.time_zone.clone(),
                };
                announce(&tx, org, Payload::OrganizationUpdated(event)).await?;
                parta_audit::record(&tx, caller, Some(org), format!("organizations/{org}")).await?;
                Ok::<_, Error>(pb::UpdateOrganizationResponse {
                    organization: Some(convert::organization(&changed)),
                    ..Default::default()
                })
            })
            .await
    }

    pub(crate) async fn change_policies(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        policies: Policies,
        etag: &str,
    ) -> Result<pb::ChangePoliciesResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let (scope, policies) = (&authorize(caller, org, policy::administer(&facts))?, &policies);
        self.db
            .mutate(mutation, |tx| async move {
                let mut changed = organizations::get_for_update(&tx, scope).await?;
                check_etag(etag, changed.revision)?;
                changed.policies = policies.clone();
                changed.policies_version += 1;
                changed.update_time = tx.now();
                changed.revision += 1;
                organizations::update(&tx, scope, &changed).await?;
                let event = PoliciesChanged {
                    policies: Some(convert::policies(policies, changed.policies_version)),
                };
                announce(&tx, org, Payload::PoliciesChanged(event)).await?;
                parta_audit::record(&tx, caller, Some(org), format!("organizations/{org}/policies")).await?;
                Ok::<_, Error>(pb::ChangePoliciesResponse {
                    organization: Some(convert::organization(&changed)),
                    ..Default::default()
                })
            })
            .await
    }
}
