mod decisions;
mod limits;
mod submission;
