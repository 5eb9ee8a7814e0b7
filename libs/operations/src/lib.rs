//! The services for the operator of an installation that every service serves alike, over the tables of the
//! libraries in its own database.
//!
//! Each proto package declares the gRPC service under its own name, so that a call reaches the right database
//! in one process and in a cluster by the same routes. All take the same messages, so that [`JobServer`] and
//! [`QuarantineServer`] implement all of them. See docs/adr/0021.
#![warn(missing_docs)]

mod jobs;
mod quarantines;
mod rules;

use std::sync::Arc;

use parta_database::Db;
use parta_edge::Edge;
use parta_feed::AtLeast;

pub use jobs::JobServer;
pub use quarantines::QuarantineServer;
pub use rules::common_rules;

/// Returns the edge of a service for the operator. It waits for no other service, because the operator calls
/// when one is missing.
fn edge(db: Db) -> Edge<()> {
    let at_least = AtLeast::new(db.clone(), []);
    Edge::new(db, at_least, Arc::new(()))
}
