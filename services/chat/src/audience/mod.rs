//! Audiences: the participants of derived chats follow the roster, and chats of other kinds lose those who
//! may no longer participate.
//!
//! Owns no table and has no RPCs. Invariant: participants are recomputed by set difference in the transaction
//! that applies the change of the roster, so that nobody writes or reads by a right that the roster has ended
//! (R38).
mod events;
mod operations;
mod policy;
#[cfg(test)]
mod tests;

pub(crate) use operations::{AudienceUpdater, decide_named};
pub(crate) use policy::{NamedAudience, named_audience, participant_rights};
