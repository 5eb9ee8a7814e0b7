//! The service as its callers meet it: through its layers, over a pipe, on both databases.

mod archive;
mod audiences;
mod edge;
mod growth;
mod instructions;
mod live;
mod messages;
mod personal;
mod races;
mod reordered;
mod school;
mod suite;
