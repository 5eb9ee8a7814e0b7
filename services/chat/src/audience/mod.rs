//! Who belongs in which chat, and how the participants follow the roster.
pub(crate) mod events;
pub mod policy;
#[cfg(test)]
mod tests;
