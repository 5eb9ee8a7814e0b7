//! `parta.membership.v1.AppointmentService`: decodes, calls the edge, encodes.
use parta_edge::{Edge, PageRequest};
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, appointment_service_server::AppointmentService};
use parta_status::field;
use tonic::{Request, Response, Status};

use super::{
    model::Appointment,
    operations::{ClaimAppointment, ListAppointments},
};
use crate::{context::Context, members::to_proto as member};

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Appointments {
    edge: Edge<Context>,
}

impl Appointments {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

fn to_proto(appointment: Appointment) -> pb::Appointment {
    pb::Appointment {
        org_id: appointment.org_id.to_string(),
        organization_display_name: appointment.organization_display_name,
        full_name: appointment.full_name,
        create_time: Some(timestamp(appointment.create_time)),
    }
}

#[tonic::async_trait]
impl AppointmentService for Appointments {
    async fn list_appointments(
        &self,
        request: Request<pb::ListAppointmentsRequest>,
    ) -> Result<Response<pb::ListAppointmentsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let page = PageRequest::decode(v, r.page_size, &r.page_token, String::new());
            Some(ListAppointments { page: page? })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListAppointmentsResponse {
            appointments: page.items.into_iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn claim_appointment(
        &self,
        request: Request<pb::ClaimAppointmentRequest>,
    ) -> Result<Response<pb::ClaimAppointmentResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id)?;
            Some(ClaimAppointment { org_id })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ClaimAppointmentResponse {
            member: Some(member(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }
}
