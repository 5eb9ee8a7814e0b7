//! Submitting applications.
use parta_edge::{Mutation, Query, Read, Stored};
use parta_ids::ApplicationId;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        limits,
        model::{Application, ApplicationState, Form, Order},
        storage,
    },
    append_step, load,
};
use crate::{
    context::{Context, Run},
    error::Error,
};

/// The actor name of the applicant in the history.
const APPLICANT: &str = "applicant";

/// Refuses a caller who may not submit an application now. Runs before the document is received.
#[derive(Debug)]
pub(crate) struct MaySubmit;

impl Query for MaySubmit {
    type Context = Context;
    type View = ();
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<()>, Error> {
        limits::require(run).await?;
        Ok(Read::plain(()))
    }
}

pub(crate) struct SubmitApplication {
    pub(crate) form: Form,
    pub(crate) order: Order,
    pub(crate) document: Vec<u8>,
}

/// The outcome of SubmitApplication.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SubmittedId {
    application_id: ApplicationId,
}

impl Stored for SubmittedId {}

impl Mutation for SubmitApplication {
    type Context = Context;
    type Grant = ();
    type Outcome = SubmittedId;
    type View = Application;
    type Error = Error;

    /// Everyone may submit an application; the limits are part of the act.
    async fn authorize(&self, _: Run<'_>) -> Result<(), Error> {
        Ok(())
    }

    async fn act(&self, run: Run<'_>, (): &()) -> Result<SubmittedId, Error> {
        let Run { tx, caller, .. } = run;
        limits::take(run).await?;
        let application = Application {
            id: tx.env().id(),
            state: ApplicationState::Submitted,
            form: self.form.clone(),
            order: self.order.clone(),
            org_id: None,
            create_time: tx.now(),
            revision: 1,
        };
        let id = application.id;
        if !storage::insert(tx, &application).await? {
            return Err(Error::duplicate());
        }
        storage::insert_order(tx, id, &self.document).await?;
        append_step(tx, &application, APPLICANT, "").await?;
        parta_audit::record(tx, caller, None, format!("applications/{id}")).await?;
        Ok(SubmittedId { application_id: id })
    }

    async fn view(&self, run: Run<'_>, (): &(), outcome: &SubmittedId) -> Result<Application, Error> {
        load(run.tx, outcome.application_id).await
    }
}
