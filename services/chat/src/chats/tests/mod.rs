mod edge;
mod participants;
