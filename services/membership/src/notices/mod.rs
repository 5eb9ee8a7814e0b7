//! Notices: short messages to people about decisions that concern them (F5, F9, F13).
//!
//! Owns no table: a notice is a durable job, which is enqueued in the transaction of the decision. The
//! feature `notice_delivery` judges and sends it. Invariants: there is one template for each kind of
//! notice, and no free text; a job holds ids only, and names are put in when it is sent; contacts do not
//! leave the service.

mod model;
mod operations;

pub(crate) use model::{Notice, text, without_content};
pub(crate) use operations::{JOB, deliver, deliver_at, notice_of};
