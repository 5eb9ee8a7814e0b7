mod planning;
mod seeing;
