//! `parta.membership.internal.v1.AdmissionService`: decodes, calls the edge, encodes. Other services call it.
use parta_access::Caller;
use parta_contacts::{InvalidPhoneNumber, PhoneNumber};
use parta_edge::Edge;
use parta_mutations::{Mutation, REQUEST_ID_RULE, request_uuid};
use parta_proto_membership::internal::v1::{self as internal, admission_service_server::AdmissionService};
use parta_roster::Role;
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

use super::{
    model::Acceptance,
    operations::{AdmitMember, Admitted, CancelAdmission},
};
use crate::{
    accounts::Address,
    appointments::{AppointFoundingAdministrator, NewAppointment},
    context::Context,
    join_requests::{EndInvitations, Terms},
};

/// The RPC whose calls CancelAdmission cancels.
const ADMIT: &str = "parta.membership.internal.v1.AdmissionService/AdmitMember";

/// The largest number of invitations that one call ends.
const MAX_ENDED: usize = 100;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Admission {
    edge: Edge<Context>,
}

impl Admission {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

fn acceptance(v: &mut FieldViolations, request: &internal::AdmitMemberRequest) -> Option<Acceptance> {
    let org_id = field::id(v, "org_id", &request.org_id);
    let invitation_id = field::id(v, "invitation_id", &request.invitation_id);
    let flow_id = field::id(v, "flow_id", &request.flow_id);
    let unit_id = field::optional_id(v, "unit_id", &request.unit_id);
    let child_id = field::optional_id(v, "child_id", &request.child_id);
    let claim_member_id = field::optional_id(v, "claim_member_id", &request.claim_member_id);
    let issuer_id = field::optional_id(v, "issuer_id", &request.issuer_id);
    let role = Role::try_from(request.role()).ok();
    let admitted = matches!(
        role,
        Some(Role::Pupil | Role::Parent | Role::Teacher | Role::Staff)
    );
    v.check(admitted, "role", "must be PUPIL, PARENT, TEACHER or STAFF");
    v.check(
        role != Some(Role::Parent) || child_id.is_some() || claim_member_id.is_some(),
        "child_id",
        "is required for PARENT without claim_member_id",
    );
    let has_unit_or_record = unit_id.is_some() || claim_member_id.is_some();
    v.check(
        role != Some(Role::Pupil) || has_unit_or_record,
        "unit_id",
        "is required for PUPIL without claim_member_id",
    );
    let recipient = Address::from_stored(&request.recipient_address);
    v.check(
        recipient.is_some() || request.recipient_address.is_empty(),
        "recipient_address",
        "must be a phone or e-mail",
    );
    Some(Acceptance {
        terms: Terms {
            org_id: org_id?,
            invitation_id: invitation_id?,
            role: role?,
            unit_id,
            child_id,
            claim_member_id,
            issuer_id,
        },
        flow_id: flow_id?,
        open: request.open,
        recipient,
    })
}

/// The response of an admission that was carried out, without its token.
fn admitted(outcome: &Admitted) -> internal::AdmitMemberResponse {
    match outcome {
        Admitted::Member {
            member_id,
            already_member,
        } => internal::AdmitMemberResponse {
            member_id: member_id.to_string(),
            already_member: *already_member,
            ..Default::default()
        },
        Admitted::Requested(id) => internal::AdmitMemberResponse {
            join_request_id: id.to_string(),
            ..Default::default()
        },
        Admitted::Canceled => internal::AdmitMemberResponse::default(),
    }
}

#[tonic::async_trait]
impl AdmissionService for Admission {
    async fn admit_member(
        &self,
        request: Request<internal::AdmitMemberRequest>,
    ) -> Result<Response<internal::AdmitMemberResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| acceptance(v, r).map(AdmitMember))?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(internal::AdmitMemberResponse {
            consistency_token: done.consistency_token,
            ..admitted(&done.view)
        }))
    }

    async fn cancel_admission(
        &self,
        request: Request<internal::CancelAdmissionRequest>,
    ) -> Result<Response<internal::CancelAdmissionResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let admission = r.admission.clone().unwrap_or_default();
            let named = request_uuid(&admission.request_id).is_some();
            v.check(named, "admission.request_id", REQUEST_ID_RULE);
            let org_id = field::id(v, "admission.org_id", &admission.org_id);
            let of_call = Caller {
                rpc: ADMIT,
                ..call.caller().clone()
            };
            Some(CancelAdmission {
                org_id: org_id?,
                admission: Mutation::new(&of_call, &admission.request_id, &admission).ok()?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(internal::CancelAdmissionResponse {
            admission: (done.view != Admitted::Canceled).then(|| admitted(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn end_invitations(
        &self,
        request: Request<internal::EndInvitationsRequest>,
    ) -> Result<Response<internal::EndInvitationsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let count = r.invitation_ids.len();
            v.check(
                (1..=MAX_ENDED).contains(&count),
                "invitation_ids",
                "must have 1 to 100 ids",
            );
            let ids = r.invitation_ids.iter().take(MAX_ENDED).enumerate();
            let ids = ids.filter_map(|(index, id)| field::id(v, &format!("invitation_ids[{index}]"), id));
            Some(EndInvitations {
                invitation_ids: ids.collect(),
                org_id: org_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(internal::EndInvitationsResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn appoint_founding_administrator(
        &self,
        request: Request<internal::AppointFoundingAdministratorRequest>,
    ) -> Result<Response<internal::AppointFoundingAdministratorResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let application_id = field::id(v, "application_id", &r.application_id);
            let phone = r.phone.parse::<PhoneNumber>();
            let phone = phone.map_err(|error: InvalidPhoneNumber| v.add("phone", error.to_string()));
            let full_name = field::name(v, "full_name", &r.full_name, 1..=200);
            let organization_display_name = field::name(
                v,
                "organization_display_name",
                &r.organization_display_name,
                1..=200,
            );
            Some(AppointFoundingAdministrator {
                org_id: org_id?,
                new: NewAppointment {
                    application_id: application_id?,
                    phone: phone.ok()?.as_str().to_owned(),
                    full_name,
                    organization_display_name,
                },
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(internal::AppointFoundingAdministratorResponse {
            consistency_token: done.consistency_token,
        }))
    }
}
