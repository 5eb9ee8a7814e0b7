//! How services are configured, started and stopped.

mod configuration;
mod running;
mod two_services;
