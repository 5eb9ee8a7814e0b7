//! Runs services: layered configuration, telemetry, health, reflection, keys and ordered shutdown.
//!
//! Two entries. [`run_service`] is the whole `main` of a thin binary of one service; [`compose`] runs several
//! in one process, on one port, each with a database of its own. In both the services reach each other through the
//! same client and server layers, so that what is true of one process is true of a cluster.

mod bus;
pub mod config;
mod entry;
mod health;
mod jwks;
mod keys;
mod running;
mod service;
mod start;
mod supervise;
pub mod telemetry;

pub use config::{ConfigArgs, Section, ServiceConfig, Settings, Sources};
pub use entry::{
    compose, compose_with, make_keys, migrate, run, run_service, run_service_with, serve_composed,
    serve_composed_with, start_alone, use_one_tls_provider,
};
pub use keys::{Rotation, rotate_signing_key};
pub use running::Running;
pub use service::{Service, ServiceContext, ServiceParts, Task, maintenance};
