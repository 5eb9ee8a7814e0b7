//! Configuration, startup and shutdown of services.

mod configuration;
mod running;
mod two_services;
