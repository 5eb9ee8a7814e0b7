//! The end of requests: membership publishes what staff has decided, and the use is confirmed or released.
use std::sync::Arc;

use async_trait::async_trait;
use parta_access::{Caller, OrgScope, Principal};
use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{InvitationId, JoinRequestId, MemberId, OrgId, TypedId as _};
use parta_jobs::{Job, JobError, JobHandler};
use parta_roster::{Change, RosterObserver};
use parta_status::RpcError;
use serde::{Deserialize, Serialize};

use super::{admission::Admitted, operations, storage};
use crate::{context::Context, error::Error};

/// Kind of the durable job that confirms or releases the use of a decided request.
pub(crate) const SETTLE_JOB: &str = "invitation.settle_join_request";

/// The reason of a released use: staff refused, or the person withdrew the request.
const REFUSED: &str = "JOIN_REQUEST_REFUSED";

/// The decision that the job carries out.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    join_request_id: JoinRequestId,
    invitation_id: InvitationId,
    member_id: Option<MemberId>,
}

/// Enqueues the jobs for decided requests.
pub(crate) struct DecisionObserver;

#[async_trait]
impl RosterObserver for DecisionObserver {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        for change in changes {
            let Change::JoinDecided {
                join_request_id,
                invitation_id,
                member_id,
            } = change
            else {
                continue;
            };
            let payload = Payload {
                join_request_id: *join_request_id,
                invitation_id: *invitation_id,
                member_id: *member_id,
            };
            let payload =
                serde_json::to_vec(&payload).map_err(|error| HandleError::Failed(error.to_string()))?;
            parta_jobs::enqueue(tx, SETTLE_JOB, Some(org), payload, join_request_id.uuid()).await?;
        }
        Ok(())
    }
}

/// Runs [`SETTLE_JOB`].
pub(crate) struct SettleRequests(pub(crate) Arc<Context>);

#[async_trait]
impl JobHandler for SettleRequests {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let (Ok(payload), Some(org)) = (serde_json::from_slice::<Payload>(&job.payload), job.org_id) else {
            return Err(JobError::Fatal("the payload is not a decision".to_owned()));
        };
        let scope = OrgScope::for_consumer(SETTLE_JOB, org);
        match self.settle(&scope, &payload).await {
            Ok(true) => Ok(()),
            // The response of membership about the use is not stored yet.
            Ok(false) => Err(JobError::Retry("RESERVATION_PENDING".to_owned())),
            Err(error) => Err(JobError::Retry(RpcError::from(error).reason().to_owned())),
        }
    }
}

impl SettleRequests {
    /// Confirms or releases the use; returns `false` if its reservation may still be on the way.
    async fn settle(&self, scope: &OrgScope, payload: &Payload) -> Result<bool, Error> {
        let context = &self.0;
        let conn = context.db.conn();
        let Some(reservation) = storage::find_by_request(conn, scope, payload.join_request_id).await? else {
            return Ok(!storage::has_pending(conn, scope, payload.invitation_id).await?);
        };
        let service = Principal::Service {
            name: context.db.service().to_owned(),
        };
        let caller = Caller::new(service, SETTLE_JOB);
        match payload.member_id {
            Some(member_id) => {
                let admitted = Admitted {
                    member_id,
                    already_member: false,
                    consistency_token: String::new(),
                };
                operations::confirm(context, &caller, scope, &reservation, &admitted).await?;
            }
            None => operations::release(context, &caller, scope, &reservation, REFUSED).await?,
        }
        Ok(true)
    }
}
