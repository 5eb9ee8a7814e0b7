mod annulling;
mod inviting;
