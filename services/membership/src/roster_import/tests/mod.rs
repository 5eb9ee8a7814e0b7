mod edge;
mod plan;
