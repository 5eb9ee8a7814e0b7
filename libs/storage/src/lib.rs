//! The database of a service: one API for embedded SQLite and PostgreSQL.
//!
//! It owns connections, transactions with their retries, idempotency records, the head of the event log
//! (position and incarnation), page tokens, etags and durable jobs. Invariants: a mutation has one effect and
//! one outcome; on SQLite, every write holds the fair write lock; commit hooks notify only after the commit.

mod config;
mod connect;
mod connection;
mod connection_cache;
mod db;
mod error;
mod etag;
mod head;
mod idempotency;
pub mod jobs;
mod lock;
mod migrations;
mod mutation;
mod page;
mod run_to_completion;
mod schema;
mod sqlite_writer;
mod token;
mod tx;
mod write_lock;

pub use config::DatabaseConfig;
pub use connection::{Connection, Transaction};
pub use connection_cache::PooledConnection;
pub use db::Db;
pub use error::StorageError;
pub use etag::{check_etag, etag};
pub use head::LogHead;
pub use idempotency::{Claim, RETENTION_DAYS, Record, purge_task};
pub use migrations::migrations;
pub use mutation::{Mutation, REQUEST_ID, REQUEST_ID_RULE, request_uuid};
pub use page::page_size;
pub use schema::{SchemaState, require_migration};
pub use sqlite_writer::SqliteWriter;
pub use token::{ConsistencyToken, ServicePosition};
pub use tx::{CommitStep, Tx};
pub use write_lock::{WriteGuard, WriteLock};
