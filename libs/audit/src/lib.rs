//! The audit log of a service (R60): who did what to which thing, provably unchanged.
//!
//! Owns the tables `audit_entry` and `audit_head`. A row is written in the transaction of the act; a sealing task
//! chains the rows afterwards, so that acts do not wait for each other. Invariants: an act without its row was not
//! committed; a sealed row that is edited, removed or put in is found by [`verify`]. Actors are pseudonymous ids whose
//! mapping lives elsewhere: its erasure leaves the chain whole.

mod chain;
mod migrations;
mod record;

pub use chain::{AuditError, Chain, seal, sealing_task, verify};
pub use migrations::migrations;
pub use record::record;
