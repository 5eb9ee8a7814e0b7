//! Reading applications and their orders.
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::ApplicationId;

use super::{
    super::{
        model::{Application, ApplicationHistory, ApplicationState},
        storage,
    },
    load, load_history,
};
use crate::{
    context::{Context, Operator, Run},
    error::Error,
};

/// Returns an application with its history.
#[derive(Debug)]
pub(crate) struct GetApplication {
    pub(crate) application_id: ApplicationId,
}

impl Query for GetApplication {
    type Context = Context;
    type View = ApplicationHistory;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<ApplicationHistory>, Error> {
        Operator::of(run.caller)?;
        Ok(Read::plain(load_history(run.tx, self.application_id).await?))
    }
}

/// Lists applications without their histories, oldest first.
#[derive(Debug)]
pub(crate) struct ListApplications {
    pub(crate) state: Option<ApplicationState>,
    pub(crate) page: PageRequest,
}

impl Query for ListApplications {
    type Context = Context;
    type View = Page<Application>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Application>>, Error> {
        let Run { tx, caller, .. } = run;
        Operator::of(caller)?;
        let after: Option<ApplicationId> = self.page.after(tx, caller)?;
        let rows = storage::list(tx, self.state, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}

/// Authorizes and audits reading the order of an application.
#[derive(Debug)]
pub(crate) struct OpenOrder {
    pub(crate) application_id: ApplicationId,
}

impl Query for OpenOrder {
    type Context = Context;
    type View = ();
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<()>, Error> {
        Operator::of(run.caller)?;
        let id = load(run.tx, self.application_id).await?.id;
        Ok(Read::audited_on_platform((), format!("applications/{id}/order")))
    }
}

/// Returns one chunk of an order; `None` after the last.
#[derive(Debug)]
pub(crate) struct ReadOrderChunk {
    pub(crate) application_id: ApplicationId,
    /// The number of the chunk, counted from 0.
    pub(crate) number: i64,
}

impl Query for ReadOrderChunk {
    type Context = Context;
    type View = Option<Vec<u8>>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Option<Vec<u8>>>, Error> {
        Operator::of(run.caller)?;
        let chunk = storage::find_chunk(run.tx, self.application_id, self.number).await?;
        Ok(Read::plain(chunk))
    }
}
