//! Configuration, startup and shutdown of services.

mod configuration;
mod roles;
mod running;
mod two_services;
