mod admit;
mod cancel;
mod ticket;

pub(crate) use admit::{AdmitMember, Admitted};
pub(crate) use cancel::CancelAdmission;
pub(crate) use ticket::CreateJoinTicket;
