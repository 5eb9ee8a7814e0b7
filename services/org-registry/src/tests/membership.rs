//! A fake membership service. It records the appointments and can fail on request.
use std::sync::{Arc, Mutex};

use parta_grpc::Routes;
use parta_proto_membership::internal::v1::{
    self as pb,
    admission_service_server::{AdmissionService, AdmissionServiceServer},
};
use tonic::{Request, Response, Status};

pub(crate) const NAME: &str = "parta.membership.internal.v1.AdmissionService";

#[derive(Default)]
struct State {
    failures_left: u32,
    calls: Vec<pb::AppointFoundingAdministratorRequest>,
}

#[derive(Clone, Default)]
pub(crate) struct Membership(Arc<Mutex<State>>);

impl Membership {
    pub(crate) fn routes(&self) -> Routes {
        Routes::new(AdmissionServiceServer::new(self.clone()))
    }

    pub(crate) fn fail_next(&self, calls: u32) {
        self.0.lock().unwrap().failures_left = calls;
    }

    pub(crate) fn calls(&self) -> Vec<pb::AppointFoundingAdministratorRequest> {
        self.0.lock().unwrap().calls.clone()
    }
}

#[tonic::async_trait]
impl AdmissionService for Membership {
    async fn admit_member(
        &self,
        _: Request<pb::AdmitMemberRequest>,
    ) -> Result<Response<pb::AdmitMemberResponse>, Status> {
        panic!("org-registry does not call AdmitMember");
    }

    async fn cancel_admission(
        &self,
        _: Request<pb::CancelAdmissionRequest>,
    ) -> Result<Response<pb::CancelAdmissionResponse>, Status> {
        panic!("org-registry does not call CancelAdmission");
    }

    async fn end_invitations(
        &self,
        _: Request<pb::EndInvitationsRequest>,
    ) -> Result<Response<pb::EndInvitationsResponse>, Status> {
        panic!("org-registry does not call EndInvitations");
    }

    async fn appoint_founding_administrator(
        &self,
        request: Request<pb::AppointFoundingAdministratorRequest>,
    ) -> Result<Response<pb::AppointFoundingAdministratorResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        state.calls.push(request.into_inner());
        if state.failures_left > 0 {
            state.failures_left -= 1;
            // UNAVAILABLE would be retried by the client middleware.
            return Err(parta_status::conflict().into());
        }
        Ok(Response::new(pb::AppointFoundingAdministratorResponse::default()))
    }
}
