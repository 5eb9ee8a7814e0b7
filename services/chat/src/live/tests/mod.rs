mod comparing;
mod departed;
mod encoding;
mod reordered;
mod streams;
mod suspended;
