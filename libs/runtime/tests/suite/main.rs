//! Configuration, startup and shutdown of services.

mod configuration;
mod limits;
mod running;
mod two_services;
