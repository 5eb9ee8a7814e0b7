//! All tests that need more than one service or read the whole source tree, in one binary, because each test
//! binary is linked with the whole suite.

mod architecture;
mod busy_neighbors;
mod command_line;
mod consistency;
mod edge;
mod external_systems;
mod founding;
mod jobs;
mod journey;
mod language;
mod lost_host;
mod malformed;
mod operator_services;
mod people;
mod permissions;
mod plans;
mod policies;
mod power_cut;
mod protos;
mod python;
mod quarantine;
mod reach;
mod rest;
mod restored;
mod retention;
mod revocations;
mod roster_import;
mod sign_in;
mod suspensions;
