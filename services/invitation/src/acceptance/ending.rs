//! The end of revoked links: membership ends the requests that were made by them.
use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parta_ids::{InvitationId, OrgId};
use parta_jobs::{Job, JobError, JobHandler};

use super::admission;
use crate::{
    context::Context,
    invitations::{LINKS_PER_CALL, RevokedLinks},
};

/// The time for which the response to a revocation waits for membership. The job of the revocation ends
/// the requests in any case.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends the requests by links right after the commit of their revocation, so that staff who read the
/// response find no request that can still be accepted. Membership may be away: then the job does it
/// later.
pub(super) async fn end_soon(context: &Context, org: OrgId, links: &[InvitationId]) {
    let calls = async {
        for chunk in links.chunks(LINKS_PER_CALL) {
            let request_id = context.db.env().ids.uuid();
            admission::end_invitations(context, org, chunk, request_id).await?;
        }
        Ok::<_, String>(())
    };
    let ended = tokio::time::timeout(PATIENCE, calls).await;
    if !matches!(ended, Ok(Ok(()))) {
        tracing::info!(org.id = %org, "membership did not end the requests by revoked links, the job repeats the call");
    }
}

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
