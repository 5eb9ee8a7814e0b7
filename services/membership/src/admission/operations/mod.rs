mod admit;
mod ticket;

pub(crate) use admit::{AdmitMember, Admitted};
pub(crate) use ticket::CreateJoinTicket;
