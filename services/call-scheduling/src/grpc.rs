//! The gRPC face: decode, operate, encode. No decisions here.

use chrono::TimeDelta;
use parta_access::Caller;
use parta_ids::{CallId, OrgId};
use parta_proto::parta::call_scheduling::v1::{self as pb, call_service_server::CallService};
use parta_status::{FieldViolations, RpcError, field};
use parta_storage::{Mutation, page_size};
use tonic::{Request, Response, Status};

use crate::{
    calls::{grpc::convert, operations::Window},
    context::App,
};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl CallService for App {
    async fn plan_call(&self, request: Request<pb::PlanCallRequest>) -> Answer<pb::PlanCallResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.plan(&caller, &mutation, convert::plan(&request)?).await?,
        ))
    }

    async fn get_call(&self, request: Request<pb::GetCallRequest>) -> Answer<pb::GetCallResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = ids(&request.org_id, &request.call_id)?;
        Ok(Response::new(self.get(&caller, org, id).await?))
    }

    async fn list_occurrences(
        &self,
        request: Request<pb::ListOccurrencesRequest>,
    ) -> Answer<pb::ListOccurrencesResponse> {
        let (caller, request) = self.enter(request).await?;
        let mut v = FieldViolations::default();
        let org = field::id::<OrgId>(&mut v, "org_id", &request.org_id);
        let start = convert::time(&mut v, "window_start_time", request.window_start_time.as_ref());
        let end = convert::time(&mut v, "window_end_time", request.window_end_time.as_ref());
        if let Some((start, end)) = start.zip(end) {
            let fits = start < end && end - start <= TimeDelta::days(366);
            v.check(
                fits,
                "window_end_time",
                "must be later than the start by at most 366 days",
            );
        }
        let unit_id = field::optional_id(&mut v, "unit_id", &request.unit_id);
        v.finish()?;
        let (org, (start, end)) = convert::both((org, start.zip(end)))?;
        let window = Window {
            start,
            end,
            unit_id,
            show_cancelled: request.show_cancelled,
            page_size: page_size(request.page_size)?,
            page_token: &request.page_token,
            filter: format!(
                "{org}/{start}/{end}/{}/{}",
                request.unit_id, request.show_cancelled
            ),
        };
        Ok(Response::new(self.occurrences(&caller, org, window).await?))
    }

    async fn cancel_call(&self, request: Request<pb::CancelCallRequest>) -> Answer<pb::CancelCallResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = ids(&request.org_id, &request.call_id)?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.cancel(&caller, &mutation, org, id, &request.etag).await?,
        ))
    }

    async fn cancel_occurrence(
        &self,
        request: Request<pb::CancelOccurrenceRequest>,
    ) -> Answer<pb::CancelOccurrenceResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id, start) = occurrence(&request.org_id, &request.call_id, request.start_time.as_ref())?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            App::cancel_occurrence(self, &caller, &mutation, org, id, start).await?,
        ))
    }

    async fn announce_call(
        &self,
        request: Request<pb::AnnounceCallRequest>,
    ) -> Answer<pb::AnnounceCallResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = ids(&request.org_id, &request.call_id)?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(self.announce(&caller, &mutation, org, id).await?))
    }

    async fn issue_join_token(
        &self,
        request: Request<pb::IssueJoinTokenRequest>,
    ) -> Answer<pb::IssueJoinTokenResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id, start) = occurrence(&request.org_id, &request.call_id, request.start_time.as_ref())?;
        Ok(Response::new(
            App::issue_join_token(self, &caller, org, id, start).await?,
        ))
    }
}

impl App {
    /// Who calls with what, once everything is known here that the caller's consistency token speaks of.
    async fn enter<T>(&self, request: Request<T>) -> Result<(Caller, T), RpcError> {
        let caller = Caller::of(&request)?;
        self.at_least.wait_for(request.metadata()).await?;
        Ok((caller, request.into_inner()))
    }
}

fn ids(org: &str, call: &str) -> Result<(OrgId, CallId), RpcError> {
    convert::ids(("org_id", org), ("call_id", call))
}

fn occurrence(
    org: &str,
    call: &str,
    start: Option<&prost_types::Timestamp>,
) -> Result<(OrgId, CallId, chrono::DateTime<chrono::Utc>), RpcError> {
    let mut v = FieldViolations::default();
    let found = (
        field::id(&mut v, "org_id", org),
        field::id(&mut v, "call_id", call),
    );
    let start = convert::time(&mut v, "start_time", start);
    v.finish()?;
    let ((org, call), start) = convert::both((found.0.zip(found.1), start))?;
    Ok((org, call, start))
}
