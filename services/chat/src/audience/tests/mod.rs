mod archived;
mod beginnings;
mod channels;
mod commuting;
mod history;
mod losing;
mod policy;
mod roster;
