//! A fake chat service that records announcements with the member who is authorized to post them.
use std::sync::{Arc, Mutex};

use parta_access::Caller;
use parta_grpc::Routes;
use parta_ids::MemberId;
use parta_proto_chat::internal::v1::{
    self as pb,
    announcement_service_server::{AnnouncementService, AnnouncementServiceServer},
};
use parta_proto_chat::v1::ErrorReason;
use tonic::{Request, Response, Status};

pub(crate) const NAME: &str = "parta.chat.internal.v1.AnnouncementService";

#[derive(Clone, Default)]
pub(crate) struct Chat(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    posted: Vec<(pb::PostAnnouncementRequest, MemberId)>,
    down: bool,
    refusal: Option<ErrorReason>,
}

impl Chat {
    pub(crate) fn routes(&self) -> Routes {
        Routes::new(AnnouncementServiceServer::new(self.clone()))
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// Chat refuses each announcement for this reason.
    pub(crate) fn refuse(&self, reason: ErrorReason) {
        self.0.lock().unwrap().refusal = Some(reason);
    }

    pub(crate) fn posted(&self) -> Vec<(pb::PostAnnouncementRequest, MemberId)> {
        self.0.lock().unwrap().posted.clone()
    }
}

#[tonic::async_trait]
impl AnnouncementService for Chat {
    async fn post_announcement(
        &self,
        request: Request<pb::PostAnnouncementRequest>,
    ) -> Result<Response<pb::PostAnnouncementResponse>, Status> {
        let (_, member) = Caller::of(&request)?.person().unwrap();
        let mut state = self.0.lock().unwrap();
        if state.down {
            return Err(parta_status::conflict().into());
        }
        if let Some(reason) = state.refusal {
            return Err(parta_status::RpcError::new(reason, "Refused.").into());
        }
        state.posted.push((request.into_inner(), member));
        Ok(Response::new(pb::PostAnnouncementResponse::default()))
    }
}
