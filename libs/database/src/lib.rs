//! The database of a service: one API for embedded SQLite and PostgreSQL.
//!
//! It owns connections, transactions with their retries, and the heads of the event logs. Invariants: on
//! SQLite, every write holds the fair write lock; commit hooks notify only after the commit.
#![warn(missing_docs)]

mod clock;
mod config;
mod connect;
mod connection;
mod connection_cache;
mod db;
mod error;
mod head;
mod insert;
mod lock;
mod metrics;
mod migrate;
mod migrations;
mod pooled_connection;
mod privileges;
mod run_to_completion;
mod schema;
mod server;
mod serving;
mod session;
mod sqlite_writer;
mod table;
mod transactions;
mod tx;
mod watched_session;
mod write_lock;

pub use config::DatabaseConfig;
pub use connection::{Connection, Transaction};
pub use db::Db;
pub use error::StorageError;
pub use head::LogHead;
pub use insert::{insert_if_absent, insert_or_replace};
pub use metrics::count_skipped_row;
pub use migrations::migrations;
pub use pooled_connection::PooledConnection;
pub use schema::{SchemaState, require_migration};
pub use serving::DatabaseLock;
pub use sqlite_writer::SqliteWriter;
pub use tx::{CommitStep, Tx};
pub use write_lock::{WriteGuard, WriteLock};
