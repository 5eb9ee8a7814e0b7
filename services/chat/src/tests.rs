//! The service through its layers and an in-memory transport, on both databases.

mod archive;
mod audiences;
mod edge;
mod fixture;
mod growth;
mod instructions;
mod live;
mod messages;
mod personal;
mod races;
mod reordered;
mod school;
