mod encoding;
mod reordered;
mod streams;
