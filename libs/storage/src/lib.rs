//! The database of a service: one API over embedded SQLite and PostgreSQL.
//!
//! Owns connections, transactions with their retries, the idempotency records, the head of the event log
//! (position and incarnation), page tokens, etags and durable jobs. Invariants: a mutation has one effect and one
//! answer; on SQLite every write holds the FIFO gate; what a commit promised to announce is announced after it only.

mod config;
mod conn;
mod connect;
mod db;
mod direct;
mod error;
mod etag;
mod gate;
mod head;
mod idempotency;
pub mod jobs;
mod kept;
mod lock;
mod migrations;
mod mutation;
mod page;
mod token;
mod tx;
mod whole;

pub use config::DatabaseConfig;
pub use conn::{Conn, OpenTransaction};
pub use db::Db;
pub use direct::DirectWriter;
pub use error::StorageError;
pub use etag::{check_etag, etag};
pub use gate::{WriteGate, WritePass};
pub use head::Head;
pub use idempotency::{RETENTION_DAYS, purge_task};
pub use kept::Lease;
pub use migrations::migrations;
pub use mutation::Mutation;
pub use page::page_size;
pub use token::{ConsistencyToken, Mark};
pub use tx::{CommitStep, Tx};
