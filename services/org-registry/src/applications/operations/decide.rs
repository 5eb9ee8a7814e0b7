//! The operator's decisions.
use parta_access::{Caller, OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{ApplicationId, OrgId};
use parta_mutations::check_etag;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        appoint,
        model::{Application, ApplicationHistory, ApplicationState},
        policy, storage,
    },
    append_step, load_history,
};
use crate::{
    context::{Context, Operator},
    error::Error,
    organizations::{self, Organization},
    units,
};

/// The proof that the operator decides about this application, whose row is locked.
pub(crate) struct MayDecide {
    operator: Operator,
    application: Application,
}

impl MayDecide {
    async fn of(tx: &Tx, caller: &Caller, id: ApplicationId) -> Result<Self, Error> {
        let operator = Operator::of(caller)?;
        let application = storage::lock(tx, id).await?;
        Ok(Self {
            operator,
            application: application.ok_or(Error::UnknownApplication(id))?,
        })
    }

    /// Saves the decision, if none was made and the application has not changed since the operator read it.
    async fn decide(
        &self,
        tx: &Tx,
        caller: &Caller,
        etag: &str,
        change: impl FnOnce(&mut Application) + Send,
        reason: &str,
    ) -> Result<Application, Error> {
        let mut application = self.application.clone();
        if application.state != ApplicationState::Submitted {
            return Err(Error::Decided(application.state));
        }
        check_etag(etag, application.revision)?;
        change(&mut application);
        application.revision += 1;
        storage::update_state(tx, &application).await?;
        append_step(tx, &application, &self.operator.name, reason).await?;
        let object = format!("applications/{}", application.id);
        parta_audit::record(tx, caller, application.org_id, object).await?;
        Ok(application)
    }
}

/// Approves an application: creates the organization and its staff room, and adds the job that appoints the
/// administrator.
#[derive(Debug)]
pub(crate) struct ApproveApplication {
    pub(crate) application_id: ApplicationId,
    /// Empty if the caller does not care about changes in between.
    pub(crate) etag: String,
}

/// The proof that the operator may create the organization of this application.
pub(crate) struct MayApprove {
    decision: MayDecide,
    /// The scope of the organization that the application has or will have.
    scope: OrgScope,
}

/// The outcome of ApproveApplication.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ApprovedId {
    org_id: OrgId,
}

impl Stored for ApprovedId {}

impl Mutation for ApproveApplication {
    type Context = Context;
    type Grant = MayApprove;
    type Outcome = ApprovedId;
    type View = Organization;
    type Error = Error;

    async fn authorize(&self, _: &Context, tx: &Tx, caller: &Caller) -> Result<MayApprove, Error> {
        let decision = MayDecide::of(tx, caller, self.application_id).await?;
        let org = decision.application.org_id.unwrap_or_else(|| tx.env().id());
        let scope = authorize(caller, org, policy::approve(&decision.operator))?;
        Ok(MayApprove { decision, scope })
    }

    async fn act(
        &self,
        _: &Context,
        tx: &Tx,
        caller: &Caller,
        grant: &MayApprove,
    ) -> Result<ApprovedId, Error> {
        let scope = &grant.scope;
        let org_id = scope.org_id();
        let approve = |application: &mut Application| {
            application.state = ApplicationState::Approved;
            application.org_id = Some(org_id);
        };
        let application = grant.decision.decide(tx, caller, &self.etag, approve, "").await?;
        organizations::create(tx, scope, application.form.registration()).await?;
        units::create_staff_room(tx, scope).await?;
        appoint::enqueue(tx, &application, org_id).await?;
        Ok(ApprovedId { org_id })
    }

    async fn view(
        &self,
        _: &Context,
        tx: &Tx,
        grant: &MayApprove,
        outcome: &ApprovedId,
    ) -> Result<Organization, Error> {
        let organization = organizations::find(tx, &grant.scope).await?;
        organization.ok_or(Error::UnknownOrganization(outcome.org_id))
    }
}

/// Refuses an application with a reason.
#[derive(Debug)]
pub(crate) struct RefuseApplication {
    pub(crate) application_id: ApplicationId,
    pub(crate) reason: String,
    /// Empty if the caller does not care about changes in between.
    pub(crate) etag: String,
}

impl Mutation for RefuseApplication {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = ();
    type View = ApplicationHistory;
    type Error = Error;

    async fn authorize(&self, _: &Context, tx: &Tx, caller: &Caller) -> Result<MayDecide, Error> {
        MayDecide::of(tx, caller, self.application_id).await
    }

    async fn act(&self, _: &Context, tx: &Tx, caller: &Caller, grant: &MayDecide) -> Result<(), Error> {
        let refuse = |application: &mut Application| application.state = ApplicationState::Refused;
        grant.decide(tx, caller, &self.etag, refuse, &self.reason).await?;
        Ok(())
    }

    async fn view(&self, _: &Context, tx: &Tx, _: &MayDecide, (): &()) -> Result<ApplicationHistory, Error> {
        load_history(tx, self.application_id).await
    }
}
