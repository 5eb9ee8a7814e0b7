mod decisions;
mod submission;
