//! Who may talk with whom: pure rules over facts of the roster.
mod policy;

pub use policy::{MAX_NAMED, MAX_PARTICIPANTS, may_name, may_talk, must_leave, pair_key};
