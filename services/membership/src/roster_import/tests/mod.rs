pub(crate) mod edge;
mod plan;
mod samples;
mod snapshot;
