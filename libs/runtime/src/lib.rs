//! Runs services: layered configuration, telemetry, health checks, reflection, keys and ordered shutdown.
//!
//! There are two entry points. [`serve_standalone`] runs one service of a cluster. [`compose`] runs several
//! services in one process, on one port, each with its own database. In both, services call each other
//! through the same client and server layers, so that one process behaves like a cluster.
#![warn(missing_docs)]

mod accept;
mod bus;
pub mod config;
mod data_folder;
mod entry;
mod health;
mod jwks;
mod keys;
mod panics;
mod periodic;
mod revocations;
mod running;
mod service;
mod serving_lock;
mod start;
mod supervise;
pub mod telemetry;
#[cfg(test)]
mod tests;
mod tls;

pub use config::{ConfigArgs, Section, ServiceConfig, Settings, Sources};
pub use entry::{
    compose, compose_with, make_keys, migrate, migrate_standalone, run, serve_composed, serve_composed_with,
    serve_standalone, start_standalone, use_one_tls_provider,
};
pub use keys::{Rotation, key_files, rotate_signing_key};
pub use running::Running;
pub use service::{PURGE_INTERVAL, Service, ServiceContext, ServiceParts, Task, maintenance, migrations};
pub use tls::read_authority;
