mod races;
mod rpcs;
mod verdicts;
