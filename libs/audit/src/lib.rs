//! The audit log of a service (R60): tamper-evident records of who did what to which object.
//!
//! The library owns the tables `audit_entry` and `audit_head`. A row is written in the transaction of the
//! audited change. A sealing task adds the rows to a hash chain afterwards, so that changes do not wait for
//! each other. Invariants: a change is not committed without its row; [`verify`] detects a sealed row that
//! was edited, removed or inserted. The rows contain only pseudonymous ids. When the personal data of a
//! member is erased, which is stored elsewhere, the chain does not change.
#![warn(missing_docs)]

mod chain;
mod entities;
mod migrations;
mod record;

pub use chain::{AuditError, Chain, seal, verify};
pub use migrations::migrations;
pub use record::{record, record_within};
