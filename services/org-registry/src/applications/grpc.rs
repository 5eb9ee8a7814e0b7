use futures::{StreamExt as _, stream, stream::BoxStream};
use parta_access::Caller;
use parta_ids::ApplicationId;
use parta_proto::parta::org_registry::v1::{
    self as pb, ApplicationState, application_service_server::ApplicationService,
    submit_application_request::Part,
};
use parta_status::{FieldViolations, RpcError, field};
use parta_storage::{Mutation, page_size};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status, Streaming};

use super::{
    model::{MAX_DOCUMENT, Order, content_type},
    storage,
};
use crate::{
    context::App,
    convert,
    grpc::{Answer, checked, id},
    queries::Page,
};

struct Upload {
    request_id: String,
    header: pb::SubmitApplicationHeader,
    document: Vec<u8>,
}

/// Collects the upload; what exceeds the limit is refused before it is kept.
async fn upload(mut stream: Streaming<pb::SubmitApplicationRequest>) -> Result<Upload, Status> {
    let mut upload: Option<Upload> = None;
    while let Some(message) = stream.next().await {
        let message = message?;
        match (message.part, &mut upload) {
            (Some(Part::Header(header)), None) => {
                upload = Some(Upload {
                    request_id: message.request_id,
                    header,
                    document: Vec::new(),
                });
            }
            (Some(Part::Chunk(chunk)), Some(upload)) => {
                if upload.document.len() + chunk.len() > MAX_DOCUMENT {
                    return Err(parta_status::invalid("chunk", "the document must not exceed 20 MiB").into());
                }
                upload.document.extend_from_slice(&chunk);
            }
            (Some(Part::Header(_)), Some(_)) => {
                return Err(parta_status::invalid("header", "must come once, first").into());
            }
            (Some(Part::Chunk(_)) | None, None) => {
                return Err(parta_status::invalid("header", "must come first").into());
            }
            (None, Some(_)) => return Err(parta_status::invalid("chunk", "is missing in a message").into()),
        }
    }
    upload.ok_or_else(|| parta_status::invalid("header", "is required").into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl App {
    async fn take(&self, caller: &Caller, upload: Upload) -> Answer<pb::SubmitApplicationResponse> {
        let mut v = FieldViolations::default();
        let none = pb::ApplicationForm::default();
        let form = convert::form(&mut v, upload.header.form.as_ref().unwrap_or(&none));
        let file_name = field::text(
            &mut v,
            "header.file_name",
            &upload.header.file_name,
            1..=255,
            false,
        );
        let content_type = content_type(&upload.document);
        v.check(
            content_type.is_some(),
            "chunk",
            "the document must be a PDF, JPEG or PNG",
        );
        let content_type = checked(v, content_type)?;
        let digest = Sha256::digest(&upload.document);
        let order = Order {
            file_name,
            content_type,
            size_bytes: i64::try_from(upload.document.len()).unwrap_or(i64::MAX),
            sha256: hex(&digest),
        };
        // The digest of a repetition covers the document by its hash.
        let mut what = prost::Message::encode_to_vec(&upload.header);
        what.extend_from_slice(&digest);
        let whole = pb::SubmitApplicationRequest {
            request_id: upload.request_id.clone(),
            part: Some(Part::Chunk(what.into())),
        };
        let mutation = Mutation::new(caller, &upload.request_id, &whole)?;
        Ok(Response::new(
            self.submit(caller, &mutation, form, order, &upload.document)
                .await?,
        ))
    }
}

#[tonic::async_trait]
impl ApplicationService for App {
    async fn submit_application(
        &self,
        request: Request<Streaming<pb::SubmitApplicationRequest>>,
    ) -> Answer<pb::SubmitApplicationResponse> {
        let (caller, stream) = self.enter(request).await?;
        let upload = upload(stream).await?;
        self.take(&caller, upload).await
    }

    async fn get_application(
        &self,
        request: Request<pb::GetApplicationRequest>,
    ) -> Answer<pb::GetApplicationResponse> {
        let (caller, request) = self.enter(request).await?;
        let id = id::<ApplicationId>("application_id", &request.application_id)?;
        Ok(Response::new(self.get_application(&caller, id).await?))
    }

    async fn list_applications(
        &self,
        request: Request<pb::ListApplicationsRequest>,
    ) -> Answer<pb::ListApplicationsResponse> {
        let (caller, request) = self.enter(request).await?;
        let state = match ApplicationState::try_from(request.state) {
            Ok(ApplicationState::Unspecified) => None,
            Ok(state) => Some(state),
            Err(_) => return Err(parta_status::invalid("state", "must be one of the states").into()),
        };
        let page = Page {
            size: page_size(request.page_size)?,
            token: &request.page_token,
            filter: format!("applications/{}", request.state),
        };
        Ok(Response::new(self.list_applications(&caller, state, page).await?))
    }

    type DownloadApplicationOrderStream =
        BoxStream<'static, Result<pb::DownloadApplicationOrderResponse, Status>>;

    async fn download_application_order(
        &self,
        request: Request<pb::DownloadApplicationOrderRequest>,
    ) -> Answer<Self::DownloadApplicationOrderStream> {
        let (caller, request) = self.enter(request).await?;
        let id = id::<ApplicationId>("application_id", &request.application_id)?;
        self.open_order(&caller, id).await?;
        let db = self.db.clone();
        // One row at a time: the reader's speed sets ours, and no more than a row is held.
        let chunks = stream::try_unfold((db, 0i64), move |(db, number)| async move {
            let chunk = storage::find_chunk(db.conn(), id, number)
                .await
                .map_err(RpcError::from)?;
            Ok(chunk.map(|bytes| {
                (
                    pb::DownloadApplicationOrderResponse { chunk: bytes.into() },
                    (db, number + 1),
                )
            }))
        });
        Ok(Response::new(chunks.boxed()))
    }

    async fn approve_application(
        &self,
        request: Request<pb::ApproveApplicationRequest>,
    ) -> Answer<pb::ApproveApplicationResponse> {
        let (caller, request) = self.enter(request).await?;
        let id = id::<ApplicationId>("application_id", &request.application_id)?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.approve(&caller, &mutation, id, &request.etag).await?,
        ))
    }

    async fn refuse_application(
        &self,
        request: Request<pb::RefuseApplicationRequest>,
    ) -> Answer<pb::RefuseApplicationResponse> {
        let (caller, request) = self.enter(request).await?;
        let mut v = FieldViolations::default();
        let id = field::id::<ApplicationId>(&mut v, "application_id", &request.application_id);
        let reason = field::text(&mut v, "reason", &request.reason, 1..=2_000, true);
        let id = checked(v, id)?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.refuse(&caller, &mutation, id, &reason, &request.etag)
                .await?,
        ))
    }
}
