//! Calls: planning, reading and canceling calls and single occurrences (R49 to R52).
//!
//! Owns the tables `call` (the plan: unit, kind, organizer, civil start, zone, weekly rule),
//! `call_participant` (the named members of the audience) and `occurrence` (the occurrences that were
//! canceled by themselves). Occurrences themselves are computed. Invariants: the
//! audience is a rule over the roster at the moment of the request; a call is canceled once and never
//! planned again; an archived unit has no call with a future occurrence that is not canceled.

mod error;
mod events;
pub(crate) mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::{ArchivedUnits, snapshot};
pub(crate) use model::{Call, CallView, Format};
pub(crate) use operations::{CallGrant, load_managed, load_named, load_visible};
pub(crate) use policy::{
    attends_as_staff, hosts, manages_own_sample, manages_sample, may_join, rules, sample_call,
};
pub(crate) use storage::{
    calls::{find, list_naming, update_announced},
    occurrences::is_canceled,
};
