mod duties;
mod planning;
mod seeing;
