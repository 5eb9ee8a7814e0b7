//! A fake membership service. It admits like the real one and fails on request.
#![expect(
    clippy::disallowed_methods,
    reason = "this fake fails as a lost connection does, without a documented reason"
)]
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use parta_grpc::Routes;
use parta_ids::{Env, JoinRequestId, MemberId};
use parta_proto::status::v1::ErrorReason as Common;
use parta_proto_membership::{
    internal::v1::{
        self as pb,
        admission_service_server::{AdmissionService, AdmissionServiceServer},
    },
    v1::ErrorReason,
};
use parta_status::RpcError;
use tonic::{Request, Response, Status};

pub(crate) const NAME: &str = "parta.membership.internal.v1.AdmissionService";

/// The outcome of one call instead of success.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails before it takes effect.
    Before,
    /// The call takes effect and the response is lost.
    After,
    /// The call is refused, and a repetition would not change that.
    Refused,
    /// The person has made too many requests by this link.
    Limited,
    /// The person is already a member.
    Already,
    /// Staff decides about a request.
    Requested,
    /// Staff decides about the request of the last [`Fault::Requested`]: the same person makes a request
    /// again.
    RequestedAgain,
}

#[derive(Default)]
struct State {
    by_request: BTreeMap<String, MemberId>,
    by_flow: BTreeMap<(String, String), MemberId>,
    faults: VecDeque<Fault>,
    calls: Vec<pb::AdmitMemberRequest>,
    requested: String,
    canceled: BTreeSet<String>,
    ended: Vec<pb::EndInvitationsRequest>,
}

#[derive(Clone)]
pub(crate) struct Membership(Arc<Mutex<State>>, Env);

impl Membership {
    pub(crate) fn new(env: &Env) -> Self {
        Self(Arc::default(), env.clone())
    }

    pub(crate) fn routes(&self) -> Routes {
        Routes::new(AdmissionServiceServer::new(self.clone()))
    }

    /// Sets the faults of the next calls, in this order.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().unwrap().faults.extend(faults);
    }

    /// Number of people who joined with an invitation.
    pub(crate) fn admitted(&self, invitation: &str) -> usize {
        self.0
            .lock()
            .unwrap()
            .by_flow
            .keys()
            .filter(|(inv, _)| inv == invitation)
            .count()
    }

    pub(crate) fn calls(&self) -> Vec<pb::AdmitMemberRequest> {
        self.0.lock().unwrap().calls.clone()
    }

    /// The ids of the invitations that have ended, in the order of the calls.
    pub(crate) fn ended(&self) -> Vec<Vec<String>> {
        let ended = &self.0.lock().unwrap().ended;
        ended.iter().map(|call| call.invitation_ids.clone()).collect()
    }
}

#[tonic::async_trait]
impl AdmissionService for Membership {
    async fn admit_member(
        &self,
        request: Request<pb::AdmitMemberRequest>,
    ) -> Result<Response<pb::AdmitMemberResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        state.calls.push(request.clone());
        let fault = state.faults.pop_front();
        let key = (request.invitation_id.clone(), request.flow_id.clone());
        let known = state
            .by_request
            .get(&request.request_id)
            .or_else(|| state.by_flow.get(&key))
            .copied();
        match fault {
            // The status has no RetryInfo, so that the client middleware does not retry it.
            Some(Fault::Before) => return Err(Status::aborted("lost before")),
            // An admitted person is never refused: membership returns the recorded outcome of a repeated
            // request.
            Some(Fault::Refused) if known.is_none() => {
                let why = "The child of the link is no pupil of the organization.";
                return Err(RpcError::new(ErrorReason::ChildUnknown, why).into());
            }
            Some(Fault::Limited) => {
                let why = "Requested five times within a day.";
                let refusal = RpcError::new(Common::RateLimited, why)
                    .quota("account and invitation", why)
                    .meta("limit", "requests_by_invitation")
                    .retry_after(Duration::from_secs(3600));
                return Err(refusal.into());
            }
            Some(requested @ (Fault::Requested | Fault::RequestedAgain)) => {
                if requested == Fault::Requested {
                    state.requested = self.1.id::<JoinRequestId>().to_string();
                }
                return Ok(Response::new(pb::AdmitMemberResponse {
                    join_request_id: state.requested.clone(),
                    ..Default::default()
                }));
            }
            _ => {}
        }
        if state.canceled.contains(&request.request_id) {
            let why = "The invitation no longer works.";
            return Err(RpcError::new(ErrorReason::InvitationEnded, why).into());
        }
        let member = known.unwrap_or_else(|| self.1.id::<MemberId>());
        state.by_request.insert(request.request_id, member);
        if fault != Some(Fault::Already) {
            state.by_flow.insert(key, member);
        }
        if fault == Some(Fault::After) {
            return Err(Status::aborted("lost after"));
        }
        Ok(Response::new(pb::AdmitMemberResponse {
            member_id: member.to_string(),
            already_member: fault == Some(Fault::Already),
            ..Default::default()
        }))
    }

    async fn cancel_admission(
        &self,
        request: Request<pb::CancelAdmissionRequest>,
    ) -> Result<Response<pb::CancelAdmissionResponse>, Status> {
        let admission = request.into_inner().admission.unwrap();
        let mut state = self.0.lock().unwrap();
        if state.faults.pop_front() == Some(Fault::Before) {
            return Err(Status::aborted("lost before"));
        }
        let known = state.by_request.get(&admission.request_id).copied();
        if known.is_none() {
            state.canceled.insert(admission.request_id);
        }
        let admission = known.map(|member| pb::AdmitMemberResponse {
            member_id: member.to_string(),
            ..Default::default()
        });
        Ok(Response::new(pb::CancelAdmissionResponse {
            admission,
            ..Default::default()
        }))
    }

    async fn end_invitations(
        &self,
        request: Request<pb::EndInvitationsRequest>,
    ) -> Result<Response<pb::EndInvitationsResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        if state.faults.pop_front() == Some(Fault::Before) {
            return Err(Status::aborted("lost before"));
        }
        state.ended.push(request.into_inner());
        Ok(Response::new(pb::EndInvitationsResponse::default()))
    }

    async fn appoint_founding_administrator(
        &self,
        _: Request<pb::AppointFoundingAdministratorRequest>,
    ) -> Result<Response<pb::AppointFoundingAdministratorResponse>, Status> {
        Ok(Response::new(pb::AppointFoundingAdministratorResponse::default()))
    }
}
