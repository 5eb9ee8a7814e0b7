//! Who is in which chat and who may talk with whom: rules over facts of the roster, true on paper.
mod audience;
mod kind;
mod talk;

pub use audience::{Diff, Seat, derived_rules, difference, seat};
pub use kind::{ChatKind, Rule, TEXT_MAX, TITLE_MAX, titles};
pub use talk::{MAX_NAMED, MAX_PARTICIPANTS, may_name, may_talk, must_leave, pair_key};

#[cfg(test)]
mod tests;
