//! Calls in `parta.call_scheduling.v1.CallService`: decodes requests, calls the edge, and encodes responses.
mod convert;

use std::sync::Arc;

use chrono::TimeDelta;
use parta_edge::{Edge, PageRequest};
use parta_proto_call_scheduling::v1 as pb;
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

pub(crate) use convert::{call as call_to_proto, time};

use super::operations::{CancelCall, CancelOccurrence, GetCall, ListOccurrences};
use crate::{announcements, context::Context};

/// The longest window of a list.
const WINDOW_MAX: TimeDelta = TimeDelta::days(366);

/// Implements the RPCs that plan, return and cancel calls.
#[derive(Clone)]
pub(crate) struct Calls {
    edge: Edge<Context>,
    context: Arc<Context>,
}

impl Calls {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        Self { edge, context }
    }

    pub(crate) async fn plan(
        &self,
        request: Request<pb::PlanCallRequest>,
    ) -> Result<Response<pb::PlanCallResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(convert::plan)?;
        let done = self.edge.mutate(&call, &command).await?;
        let (mut shown, mut consistency_token) = (done.view, done.consistency_token);
        if call.request().announce {
            // A repetition announces the call too, because the first run may have ended after the commit.
            let result = announcements::announce(&self.context, call.caller(), shown).await?;
            shown = result.view;
            consistency_token = result.consistency_token.unwrap_or(consistency_token);
        }
        Ok(Response::new(pb::PlanCallResponse {
            call: Some(call_to_proto(&shown)),
            consistency_token,
        }))
    }

    pub(crate) async fn get(
        &self,
        request: Request<pb::GetCallRequest>,
    ) -> Result<Response<pb::GetCallResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let call_id = field::id(v, "call_id", &r.call_id);
            Some(GetCall {
                org_id: org_id?,
                call_id: call_id?,
            })
        })?;
        let shown = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetCallResponse {
            call: Some(call_to_proto(&shown)),
        }))
    }

    pub(crate) async fn list_occurrences(
        &self,
        request: Request<pb::ListOccurrencesRequest>,
    ) -> Result<Response<pb::ListOccurrencesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(list)?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListOccurrencesResponse {
            occurrences: page.items.iter().map(convert::occurrence).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    pub(crate) async fn cancel(
        &self,
        request: Request<pb::CancelCallRequest>,
    ) -> Result<Response<pb::CancelCallResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let call_id = field::id(v, "call_id", &r.call_id);
            Some(CancelCall {
                org_id: org_id?,
                call_id: call_id?,
                etag: r.etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CancelCallResponse {
            call: Some(call_to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    pub(crate) async fn cancel_occurrence(
        &self,
        request: Request<pb::CancelOccurrenceRequest>,
    ) -> Result<Response<pb::CancelOccurrenceResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let call_id = field::id(v, "call_id", &r.call_id);
            let start_time = time(v, "start_time", r.start_time.as_ref());
            Some(CancelOccurrence {
                org_id: org_id?,
                call_id: call_id?,
                start_time: start_time?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CancelOccurrenceResponse {
            occurrence: Some(convert::occurrence(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }
}

fn list(v: &mut FieldViolations, r: &pb::ListOccurrencesRequest) -> Option<ListOccurrences> {
    let org_id = field::id(v, "org_id", &r.org_id);
    let start = time(v, "window_start_time", r.window_start_time.as_ref());
    let end = time(v, "window_end_time", r.window_end_time.as_ref());
    if let Some((start, end)) = start.zip(end) {
        v.check(
            start < end && end - start <= WINDOW_MAX,
            "window_end_time",
            "must be later than the start by at most 366 days",
        );
    }
    let unit_id = field::optional_id(v, "unit_id", &r.unit_id);
    let window = start.zip(end).map(|(start, end)| format!("{start}/{end}"));
    let filter = format!(
        "{}/{}/{}/{}",
        r.org_id,
        window.unwrap_or_default(),
        r.unit_id,
        r.show_canceled
    );
    let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
    Some(ListOccurrences {
        org_id: org_id?,
        window_start: start?,
        window_end: end?,
        unit_id,
        show_canceled: r.show_canceled,
        page: page?,
    })
}
