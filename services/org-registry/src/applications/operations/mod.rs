//! Submitting, reading and deciding applications.
mod decide;
mod read;
mod submit;

use parta_database::Tx;
use parta_ids::ApplicationId;

pub(super) use decide::{ApproveApplication, RefuseApplication};
pub(super) use read::{GetApplication, ListApplications, OpenOrder, ReadOrderChunk};
pub(super) use submit::{MaySubmit, SubmitApplication};

use super::{
    model::{Application, ApplicationHistory, StateChange},
    storage,
};
use crate::error::Error;

async fn load(tx: &Tx, id: ApplicationId) -> Result<Application, Error> {
    let application = storage::find(tx, id).await?;
    application.ok_or_else(|| Error::unknown_application(id))
}

async fn load_history(tx: &Tx, id: ApplicationId) -> Result<ApplicationHistory, Error> {
    Ok(ApplicationHistory {
        application: load(tx, id).await?,
        changes: storage::list_changes(tx, id).await?,
    })
}

/// Appends the current state to the history.
async fn append_step(tx: &Tx, application: &Application, actor: &str, reason: &str) -> Result<(), Error> {
    let change = StateChange {
        state: application.state,
        actor: actor.to_owned(),
        reason: reason.to_owned(),
        change_time: tx.now(),
    };
    Ok(storage::insert_change(tx, application.id, &change).await?)
}
