mod archived;
mod duties;
mod planning;
mod seeing;
