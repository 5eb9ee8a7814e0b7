//! Configuration, startup and shutdown of services.

mod configuration;
mod limits;
mod roles;
mod running;
mod two_services;
