mod archived;
mod commuting;
mod duties;
mod planning;
mod safety;
mod seeing;
