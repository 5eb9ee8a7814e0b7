mod policy;
mod roster;
