mod archived;
mod duties;
mod planning;
mod safety;
mod seeing;
