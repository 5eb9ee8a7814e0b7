mod edge;
mod pairs;
mod participants;
mod relations;
mod released;
