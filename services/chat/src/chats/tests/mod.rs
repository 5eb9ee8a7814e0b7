mod edge;
mod pairs;
mod participants;
