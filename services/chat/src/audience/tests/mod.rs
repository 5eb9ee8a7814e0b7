mod losing;
mod policy;
mod roster;
