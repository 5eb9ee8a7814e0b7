//! `parta.org_registry.v1.ApplicationService`: decodes requests, calls the edge, and encodes responses.
mod convert;
mod upload;

use futures::{StreamExt as _, stream, stream::BoxStream};
use parta_edge::{Edge, PageRequest};
use parta_proto_org_registry::v1::{
    self as pb, application_service_server::ApplicationService, submit_application_request::Part,
};
use parta_status::{field, invalid};
use tonic::{Request, Response, Status, Streaming};

use super::{
    model::ApplicationState,
    operations::{
        ApproveApplication, GetApplication, ListApplications, MaySubmit, OpenOrder, ReadOrderChunk,
        RefuseApplication,
    },
};
use crate::{context::Context, organizations};
use upload::Document;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Applications {
    edge: Edge<Context>,
}

impl Applications {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

#[tonic::async_trait]
impl ApplicationService for Applications {
    async fn submit_application(
        &self,
        request: Request<Streaming<pb::SubmitApplicationRequest>>,
    ) -> Result<Response<pb::SubmitApplicationResponse>, Status> {
        let stream = self.edge.enter(request).await?;
        let Some((call, rest)) = stream.first_message().await? else {
            return Err(invalid("header", "is required").into());
        };
        let Some(Part::Header(header)) = &call.request().part else {
            return Err(invalid("header", "must come first").into());
        };
        // A caller who has reached a limit is refused before the document is received.
        let may_submit = call.query(|_, _| Some(MaySubmit))?;
        self.edge.query(&call, &may_submit).await?;
        let (header, document) = (header.clone(), Document::receive(rest).await?);
        let call = call.with_content(&document.sha256);
        let command = call.mutation(|v, _| convert::submission(v, &header, document))?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::SubmitApplicationResponse {
            application_id: done.view.id.to_string(),
            order_sha256: done.view.order.sha256,
            consistency_token: done.consistency_token,
        }))
    }

    async fn get_application(
        &self,
        request: Request<pb::GetApplicationRequest>,
    ) -> Result<Response<pb::GetApplicationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            Some(GetApplication {
                application_id: field::id(v, "application_id", &r.application_id)?,
            })
        })?;
        let history = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetApplicationResponse {
            application: Some(convert::history(&history)),
        }))
    }

    async fn list_applications(
        &self,
        request: Request<pb::ListApplicationsRequest>,
    ) -> Result<Response<pb::ListApplicationsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let state = ApplicationState::from_number(r.state);
            v.check(
                state.is_some() || r.state == 0,
                "state",
                "must be one of the states",
            );
            let filter = format!("applications/{}", r.state);
            Some(ListApplications {
                state,
                page: PageRequest::decode(v, r.page_size, &r.page_token, filter)?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListApplicationsResponse {
            applications: page.items.iter().map(convert::application).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    type DownloadApplicationOrderStream =
        BoxStream<'static, Result<pb::DownloadApplicationOrderResponse, Status>>;

    async fn download_application_order(
        &self,
        request: Request<pb::DownloadApplicationOrderRequest>,
    ) -> Result<Response<Self::DownloadApplicationOrderStream>, Status> {
        let call = self.edge.enter(request).await?;
        let order = call.query(|v, r| {
            Some(OpenOrder {
                application_id: field::id(v, "application_id", &r.application_id)?,
            })
        })?;
        self.edge.query(&call, &order).await?;
        let edge = self.edge.clone();
        // At most one chunk is in memory. The next one is read after the caller has received it.
        let chunks = stream::try_unfold((edge, call, 0i64), move |(edge, call, number)| async move {
            let query = ReadOrderChunk {
                application_id: order.application_id,
                number,
            };
            let Some(bytes) = edge.query(&call, &query).await? else {
                return Ok(None);
            };
            let response = pb::DownloadApplicationOrderResponse { chunk: bytes.into() };
            Ok(Some((response, (edge, call, number + 1))))
        });
        Ok(Response::new(chunks.boxed()))
    }

    async fn approve_application(
        &self,
        request: Request<pb::ApproveApplicationRequest>,
    ) -> Result<Response<pb::ApproveApplicationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            Some(ApproveApplication {
                application_id: field::id(v, "application_id", &r.application_id)?,
                etag: r.etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ApproveApplicationResponse {
            organization: Some(organizations::to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn refuse_application(
        &self,
        request: Request<pb::RefuseApplicationRequest>,
    ) -> Result<Response<pb::RefuseApplicationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let application_id = field::id(v, "application_id", &r.application_id);
            let reason = field::text(v, "reason", &r.reason, 1..=2_000, true);
            Some(RefuseApplication {
                application_id: application_id?,
                reason,
                etag: r.etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::RefuseApplicationResponse {
            application: Some(convert::history(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }
}
