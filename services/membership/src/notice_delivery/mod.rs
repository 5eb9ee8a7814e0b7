//! Delivers the notices of other features (F5, F9, F13).
//!
//! Owns no table: its job checks with the features that own the facts whether the notice is still due
//! and to whom it may go. Invariants: nothing is sent to a person who has left, by a suspended role, or
//! about a decision that was taken back; a notice to a pupil has no content; nothing that names a child
//! of a protected family, and no notice to such a child, is sent, because staff have checked no contact
//! (F13).

mod operations;
#[cfg(test)]
mod tests;

pub(crate) use operations::{DeliverNotice, JOB_LIMITS};
