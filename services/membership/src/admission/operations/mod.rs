//! The acts of admission: a signed-in person gets a ticket for one invitation, and the invitation
//! service has the person of a ticket admitted.
mod admit;
mod cancel;
mod ticket;

pub(crate) use admit::{AdmitMember, Admitted};
pub(crate) use cancel::CancelAdmission;
pub(crate) use ticket::CreateJoinTicket;
