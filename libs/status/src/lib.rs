//! Refusals of calls: documented reasons with google.rpc details, and their conversion to and from gRPC
//! statuses. Also the text of an error with its causes.
//!
//! The code of a reason is that of the proto that declares it, so that code and documentation cannot diverge.
#![warn(missing_docs)]

mod common;
mod error_chain;
pub mod field;
pub mod name;
mod rpc_error;

pub use common::{
    caller_not_accepted, conflict, etag_mismatch, invalid, not_found, not_serving, overloaded,
    permission_denied, quarantined, stale, unauthenticated_missing, unavailable,
};
pub use error_chain::error_chain;
pub use field::FieldViolations;
pub use parta_proto::Reason;
pub use rpc_error::RpcError;
pub use tonic::Code;
/// The descriptors of `google.rpc.Status` and of the details of refusals, for reflection.
pub use tonic_types::pb::FILE_DESCRIPTOR_SET as DETAILS;

#[cfg(test)]
mod tests;
