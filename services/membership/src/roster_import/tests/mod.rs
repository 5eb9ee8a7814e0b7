mod classes;
mod decided;
pub(crate) mod edge;
mod fixture;
mod guard;
mod own_matter;
mod plan;
mod samples;
mod snapshot;
