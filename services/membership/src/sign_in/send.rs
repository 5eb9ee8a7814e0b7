//! The job that sends the code of a flow.
use std::sync::Arc;

use async_trait::async_trait;
use parta_database::Db;
use parta_jobs::{Job, JobError, JobHandler};

use super::storage;
use crate::{accounts::Address, delivery};

/// Sends codes. No code is sent if the flow was proved or deleted in the meantime.
pub(crate) struct SendCode {
    db: Db,
    sender: Arc<delivery::Sender>,
}

impl SendCode {
    pub(crate) fn new(db: Db, sender: Arc<delivery::Sender>) -> Self {
        Self { db, sender }
    }
}

#[async_trait]
impl JobHandler for SendCode {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let fatal = |why: &str| JobError::Fatal(why.to_owned());
        let flow =
            delivery::flow_of(&job.payload).ok_or_else(|| fatal("the payload does not name a flow"))?;
        let Some(code) = storage::find_unverified(self.db.conn(), flow).await? else {
            return Ok(());
        };
        let address =
            Address::from_stored(&code.address).ok_or_else(|| fatal("the flow has no valid address"))?;
        if code.expire_time <= self.db.env().now() {
            self.sender.expired(job, &address);
            return Ok(());
        }
        self.sender.send(job, flow, code.purpose, &address).await
    }
}
