mod admit;
mod ticket;

pub(crate) use admit::AdmitMember;
pub(crate) use ticket::CreateJoinTicket;
