//! Who may talk with whom: pure rules over the facts of the roster (R34 to R37). Has no RPCs and no tables.
mod policy;

pub(crate) use policy::{may_name, may_talk, must_leave};
