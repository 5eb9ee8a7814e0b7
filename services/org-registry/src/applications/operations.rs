//! Applications and their decision (R1 to R3).

use parta_access::Caller;
use parta_ids::{ApplicationId, OrgId, TypedId as _, UnitId};
use parta_proto::parta::{
    membership::internal::v1::AppointFoundingAdministratorRequest,
    org_registry::v1::{
        self as pb, ApplicationState, OrganizationCreated, UnitCreated, UnitKind, org_registry_event::Payload,
    },
};
use parta_roster::Policies;
use parta_storage::{Mutation, Tx, check_etag, jobs};
use prost::Message as _;

use super::{
    appoint::APPOINT_JOB,
    model::{Application, Form, Order, Organization, STAFF_ROOM_LABEL, Step, Unit},
    storage as applications,
};
use crate::{
    context::{App, announce, operator},
    convert,
    error::Error,
    organizations::storage as organizations,
    units::storage as units,
};

impl App {
    /// Keeps an application with its order.
    pub(crate) async fn submit(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        form: Form,
        order: Order,
        document: &[u8],
    ) -> Result<pb::SubmitApplicationResponse, Error> {
        let (form, order) = (&form, &order);
        self.db
            .mutate(mutation, |tx| async move {
                let made = Application {
                    id: tx.env().id(),
                    state: ApplicationState::Submitted,
                    form: form.clone(),
                    order: order.clone(),
                    org_id: None,
                    create_time: tx.now(),
                    revision: 1,
                };
                applications::insert(&tx, &made, document).await?;
                self.step(&tx, &made, "applicant", "").await?;
                parta_audit::record(&tx, caller, None, format!("applications/{}", made.id)).await?;
                Ok::<_, Error>(pb::SubmitApplicationResponse {
                    application_id: made.id.to_string(),
                    order_sha256: made.order.sha256,
                    ..Default::default()
                })
            })
            .await
    }

    /// Approves: the organization, its staff room, and the administrator's right as a job that membership carries out.
    pub(crate) async fn approve(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        id: ApplicationId,
        etag: &str,
    ) -> Result<pb::ApproveApplicationResponse, Error> {
        let name = &operator(caller)?;
        self.db
            .mutate(mutation, |tx| async move {
                let mut application = undecided(&tx, id, etag).await?;
                let made = organization(&tx, &application.form);
                application.state = ApplicationState::Approved;
                application.org_id = Some(made.id);
                application.revision += 1;
                organizations::insert(&tx, &made).await?;
                applications::update_state(&tx, &application).await?;
                self.step(&tx, &application, name, "").await?;
                let created = OrganizationCreated {
                    display_name: made.display_name.clone(),
                    kind: made.kind.into(),
                    time_zone: made.time_zone.clone(),
                    policies: Some(convert::policies(&made.policies, made.policies_version)),
                };
                announce(&tx, made.id, Payload::OrganizationCreated(created)).await?;
                staff_room(&tx, caller, made.id).await?;
                appoint(&tx, &application, &made).await?;
                parta_audit::record(&tx, caller, Some(made.id), format!("applications/{id}")).await?;
                Ok::<_, Error>(pb::ApproveApplicationResponse {
                    organization: Some(convert::organization(&made)),
                    ..Default::default()
                })
            })
            .await
    }

    /// Refuses with a reason.
    pub(crate) async fn refuse(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        id: ApplicationId,
        reason: &str,
        etag: &str,
    ) -> Result<pb::RefuseApplicationResponse, Error> {
        let name = &operator(caller)?;
        self.db
            .mutate(mutation, |tx| async move {
                let mut application = undecided(&tx, id, etag).await?;
                application.state = ApplicationState::Refused;
                application.revision += 1;
                applications::update_state(&tx, &application).await?;
                self.step(&tx, &application, name, reason).await?;
                parta_audit::record(&tx, caller, None, format!("applications/{id}")).await?;
                let steps = applications::list_steps(&tx, id).await?;
                Ok::<_, Error>(pb::RefuseApplicationResponse {
                    application: Some(convert::application(&application, &steps)),
                    ..Default::default()
                })
            })
            .await
    }

    async fn step(&self, tx: &Tx, application: &Application, actor: &str, reason: &str) -> Result<(), Error> {
        let step = Step {
            state: application.state,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            change_time: tx.now(),
        };
        applications::insert_step(tx, application.id, &step).await
    }
}

async fn undecided(tx: &Tx, id: ApplicationId, etag: &str) -> Result<Application, Error> {
    let application = applications::get_for_update(tx, id).await?;
    if application.state != ApplicationState::Submitted {
        return Err(Error::Decided(application.state));
    }
    check_etag(etag, application.revision)?;
    Ok(application)
}

fn organization(tx: &Tx, form: &Form) -> Organization {
    Organization {
        id: tx.env().id::<OrgId>(),
        display_name: form.organization_name.clone(),
        kind: form.kind,
        region: form.region.clone(),
        time_zone: form.time_zone.clone(),
        ogrn: form.ogrn.clone(),
        kpp: form.kpp.clone(),
        head_full_name: form.head_full_name.clone(),
        policies: Policies::default(),
        policies_version: 1,
        create_time: tx.now(),
        update_time: tx.now(),
        revision: 1,
    }
}

async fn staff_room(tx: &Tx, caller: &Caller, org_id: OrgId) -> Result<(), Error> {
    let scope = parta_access::authorize(caller, org_id, parta_access::Decision::Allow)?;
    let unit = Unit {
        id: tx.env().id::<UnitId>(),
        org_id,
        kind: UnitKind::StaffRoom,
        label: STAFF_ROOM_LABEL.to_owned(),
        create_time: tx.now(),
        archive_time: None,
        revision: 1,
    };
    units::insert(tx, &scope, &unit, &units::Source::default()).await?;
    announce(tx, org_id, unit_created(&unit, &units::Source::default())).await
}

/// The event of a unit as it is now.
pub(crate) fn unit_created(unit: &Unit, source: &units::Source) -> Payload {
    Payload::UnitCreated(UnitCreated {
        unit_id: unit.id.to_string(),
        kind: unit.kind.into(),
        label: unit.label.clone(),
        roster_import_id: source.roster_import_id.clone(),
        source_key: source.source_key.clone(),
        archived: unit.archive_time.is_some(),
    })
}

/// Name and phone are personal and in no event: they go to membership by a job of this transaction.
async fn appoint(tx: &Tx, application: &Application, made: &Organization) -> Result<(), Error> {
    let request_id = application.id.uuid();
    let request = AppointFoundingAdministratorRequest {
        request_id: request_id.to_string(),
        org_id: made.id.to_string(),
        application_id: application.id.to_string(),
        phone: application.form.administrator_phone.clone(),
        full_name: application.form.administrator_full_name.clone(),
        organization_display_name: made.display_name.clone(),
    };
    Ok(jobs::enqueue(
        tx,
        APPOINT_JOB,
        Some(made.id),
        request.encode_to_vec(),
        request_id,
    )
    .await?)
}
