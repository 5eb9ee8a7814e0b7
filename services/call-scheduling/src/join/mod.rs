//! Join: tokens of the media server (R55).
pub(crate) mod media;
mod operations;
