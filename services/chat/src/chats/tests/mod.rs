mod edge;
mod moves;
mod pairs;
mod participants;
mod relations;
mod released;
mod unread;
mod unsupervised;
