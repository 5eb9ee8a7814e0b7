//! Configuration, startup and shutdown of services.

mod configuration;
mod limits;
mod panics;
mod roles;
mod running;
mod two_services;
