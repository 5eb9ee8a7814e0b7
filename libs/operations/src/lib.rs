//! The services for the operator of an installation that every service serves alike, over the tables of the
//! libraries in its own database.
//!
//! Each proto package declares the gRPC service under its own name, so that a call reaches the right database
//! in one process and in a cluster by the same routes. `JobServer` implements all of them. See docs/adr/0021.
#![warn(missing_docs)]

mod jobs;
mod quarantines;

use parta_access::{Caller, Principal};
use parta_status::{RpcError, caller_not_accepted};

pub use jobs::{JobServer, job_rules};
pub use quarantines::{QuarantineServer, quarantine_rules};

/// The access rule accepts no other caller; this is the second check.
fn require_operator(caller: &Caller) -> Result<(), RpcError> {
    match &caller.principal {
        Principal::Operator { .. } => Ok(()),
        _ => Err(caller_not_accepted(
            caller.rpc,
            "Only the operator can call this.",
        )),
    }
}
