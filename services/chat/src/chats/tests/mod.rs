mod edge;
mod pairs;
mod participants;
mod relations;
