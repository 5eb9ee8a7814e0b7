mod channels;
mod losing;
mod policy;
mod roster;
