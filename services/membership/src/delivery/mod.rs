//! Delivery: how one-time codes reach people (R19).
//!
//! Owns the table `outbox_message`, the development outbox that stands in for sending, and the job that
//! sends a code by e-mail. Invariants: a code is owed in the transaction that made its flow; no code is
//! stored, not even as a hash, except in the text of the outbox, which exists on loopback addresses only.

mod error;
mod grpc;
mod mail;
mod model;
mod operations;
mod secret;
mod storage;

pub(crate) use grpc::Operator;
pub(crate) use mail::{MAIL_JOB, Mailer};
pub(crate) use operations::owe;
pub(crate) use secret::is_code;
