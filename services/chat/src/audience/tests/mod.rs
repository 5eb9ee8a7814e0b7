mod beginnings;
mod channels;
mod history;
mod losing;
mod policy;
mod roster;
