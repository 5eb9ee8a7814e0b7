//! Recurrence: the times at which a call is held (R51). Owns no table.
pub(crate) mod model;
