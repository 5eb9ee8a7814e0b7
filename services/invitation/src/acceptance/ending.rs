//! The end of revoked links: membership ends the requests that were made by them.
use std::sync::Arc;

use async_trait::async_trait;
use parta_jobs::{Job, JobError, JobHandler};

use super::admission;
use crate::{context::Context, invitations::RevokedLinks};

/// Runs [`crate::invitations::END_JOB`]. Membership publishes the end of each request, which gives the use
/// back as a refusal does.
pub(crate) struct EndRequests(pub(crate) Arc<Context>);

#[async_trait]
impl JobHandler for EndRequests {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let (Ok(links), Some(org)) = (serde_json::from_slice::<RevokedLinks>(&job.payload), job.org_id)
        else {
            return Err(JobError::Fatal("the payload is not a list of links".to_owned()));
        };
        let ended = admission::end_invitations(&self.0, org, &links.invitation_ids, job.request_id).await;
        ended.map_err(JobError::Retry)
    }
}
