mod edge;
mod plan;
mod samples;
