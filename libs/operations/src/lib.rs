//! The services for the operator of an installation that every service serves alike, over the tables of the
//! libraries in its own database.
//!
//! Each proto package declares the gRPC service under its own name, so that a call reaches the right database
//! in one process and in a cluster by the same routes. `JobServer` implements all of them. See docs/adr/0021.
#![warn(missing_docs)]

mod jobs;
mod quarantines;
mod rules;

pub use jobs::JobServer;
pub use quarantines::QuarantineServer;
pub use rules::common_rules;
