//! The tables of the feature: `call`, `call_participant` and `occurrence`. Rows are private to this module.
pub(super) mod calls;
mod entities;
pub(super) mod occurrences;
