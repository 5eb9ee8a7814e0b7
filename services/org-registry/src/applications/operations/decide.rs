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
    context::{Context, Operator, Run},
    error::Error,
    organizations::{self, Organization},
    units,
};

/// The grant to decide about this application, whose row is locked.
pub(crate) struct DecisionGrant {
    operator: Operator,
    application: Application,
}

impl DecisionGrant {
    async fn of(tx: &Tx, caller: &Caller, id: ApplicationId) -> Result<Self, Error> {
        let operator = Operator::of(caller)?;
        let application = storage::lock(tx, id).await?;
        Ok(Self {
            operator,
            application: application.ok_or_else(|| Error::unknown_application(id))?,
        })
    }

    /// Stores the decision with a step of the history and an audit row. Fails if the application was
    /// decided or has changed since the operator read it.
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
            return Err(Error::decided(application.state));
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
    /// The etag that the caller has read; empty to change the object without a comparison.
    pub(crate) etag: String,
}

pub(crate) struct ApprovalGrant {
    decision: DecisionGrant,
    /// The scope of the organization that the approval creates or has created.
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
    type Grant = ApprovalGrant;
    type Outcome = ApprovedId;
    type View = Organization;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<ApprovalGrant, Error> {
        let Run { tx, caller, .. } = run;
        let decision = DecisionGrant::of(tx, caller, self.application_id).await?;
        // An approved application has its organization, which a repetition shows.
        let org = decision.application.org_id.unwrap_or_else(|| tx.env().id());
        let scope = authorize(caller, org, policy::approve(&decision.operator))?;
        Ok(ApprovalGrant { decision, scope })
    }

    async fn act(&self, run: Run<'_>, grant: &ApprovalGrant) -> Result<ApprovedId, Error> {
        let Run { tx, caller, .. } = run;
        let scope = &grant.scope;
        let org_id = scope.org_id();
        let approve = |application: &mut Application| {
            application.state = ApplicationState::Approved;
            application.org_id = Some(org_id);
        };
        let application = grant.decision.decide(tx, caller, &self.etag, approve, "").await?;
        organizations::create(tx, scope, application.form.registration()).await?;
        units::create_staff_room(tx, scope).await?;
        appoint::enqueue(tx, application.id, org_id).await?;
        Ok(ApprovedId { org_id })
    }

    async fn view(
        &self,
        run: Run<'_>,
        grant: &ApprovalGrant,
        outcome: &ApprovedId,
    ) -> Result<Organization, Error> {
        let organization = organizations::find(run.tx, &grant.scope).await?;
        organization.ok_or(Error::UnknownOrganization(outcome.org_id))
    }
}

/// Refuses an application. Its registration numbers may then be used by another one (R2).
#[derive(Debug)]
pub(crate) struct RefuseApplication {
    pub(crate) application_id: ApplicationId,
    /// The cause that the operator states, not an `ErrorReason`.
    pub(crate) reason: String,
    /// The etag that the caller has read; empty to change the object without a comparison.
    pub(crate) etag: String,
}

impl Mutation for RefuseApplication {
    type Context = Context;
    type Grant = DecisionGrant;
    type Outcome = ();
    type View = ApplicationHistory;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<DecisionGrant, Error> {
        DecisionGrant::of(run.tx, run.caller, self.application_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &DecisionGrant) -> Result<(), Error> {
        let refuse = |application: &mut Application| application.state = ApplicationState::Refused;
        grant
            .decide(run.tx, run.caller, &self.etag, refuse, &self.reason)
            .await?;
        Ok(())
    }

    async fn view(&self, run: Run<'_>, _: &DecisionGrant, (): &()) -> Result<ApplicationHistory, Error> {
        load_history(run.tx, self.application_id).await
    }
}
