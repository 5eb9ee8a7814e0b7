//! Delivery: how one-time codes and notices reach people (R19).
//!
//! Owns the table `outbox_message`, the development outbox that stands in for sending, and the clients of the
//! SMS gateway and of the mail server. Invariants: a code is owed in the transaction that made its flow; no
//! code is stored, not even as a hash, except in the text of the outbox, which exists on loopback addresses
//! only; no job, log line or failure holds an address, a text or a code.

mod error;
mod failure;
mod grpc;
mod mail;
mod model;
mod operations;
mod policy;
mod purge;
mod secret;
mod sender;
mod sms;
mod storage;

pub(crate) use failure::Failure;
pub(crate) use grpc::Operator;
pub(crate) use model::{Channels, Message, Purpose};
pub(crate) use operations::{SEND_JOBS, SEND_LIMITS, flow_of, owe, store};
pub(crate) use policy::rules;
pub(crate) use purge::purge;
pub(crate) use secret::is_code;
pub(crate) use sender::{Sender, channel};
pub(crate) use sms::problems as gateway_problems;
