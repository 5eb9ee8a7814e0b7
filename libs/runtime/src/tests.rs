//! Configuration, startup and shutdown of services.

mod configuration;
mod limits;
mod metrics;
mod panics;
mod revocations;
mod roles;
mod running;
mod two_services;
