mod comparing;
mod departed;
mod encoding;
mod moves;
mod reordered;
mod streams;
mod suspended;
mod unknown_commits;
