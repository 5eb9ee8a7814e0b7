//! The acts of admission: a signed-in person gets a ticket for one invitation, and the invitation
//! service has the person of a ticket admitted.
mod admit;
mod ticket;

pub(crate) use admit::{AdmitMember, Admitted};
pub(crate) use ticket::CreateJoinTicket;
