//! Mutations with one effect and one outcome: idempotency records, consistency tokens and etags.
//!
//! Invariants: a repeated mutation finds the outcome of its first run; a record holds ids and numbers, never
//! names; a token that the server did not issue is refused.
#![warn(missing_docs)]

mod etag;
mod idempotency;
mod migrations;
mod mutation;
mod token;

pub use etag::{check_etag, etag};
pub use idempotency::{Claim, ClaimedRecord, RETENTION_DAYS, Record, claim, mutate, purge};
pub use migrations::migrations;
pub use mutation::{Mutation, REQUEST_ID, REQUEST_ID_RULE, request_uuid};
pub use token::{ConsistencyToken, ServicePosition, consistency_token, finish};
