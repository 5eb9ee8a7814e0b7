//! The audit log of a service (R60): tamper-evident records of who did what to which object.
//!
//! The library owns the tables `audit_entry` and `audit_head`. A row is written in the transaction of the
//! act. A sealing task chains the rows afterwards, so that acts do not wait for each other. Invariants: an
//! act without its row is not committed; [`verify`] detects a sealed row that was edited, removed or
//! inserted. Actors are pseudonymous ids whose mapping is stored elsewhere, so its erasure leaves the chain
//! intact.

mod chain;
mod entities;
mod migrations;
mod record;

pub use chain::{AuditError, Chain, seal, sealing_task, verify};
pub use migrations::migrations;
pub use record::record;
