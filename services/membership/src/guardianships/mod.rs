//! Guardianships: who is a guardian of which child, and the limits between the two (R27, R83; F12,
//! 13).
//!
//! Owns the tables `guardianship`, `relation_limit` and `child_record`. A link for a parent makes a relation
//! that has no effect until the leader of the child's home unit or the administration confirms it; nobody
//! decides about a relation of their own, or of a child whose guardian they are.
//! Invariants: at most one relation of a guardian and a child has not ended; an ended relation stays as
//! history and never comes back; limits belong to the two people and outlast the relation; what an order
//! ended or limited only a newer order gives back; each change and its event are committed together.

mod calendar;
mod error;
mod events;
mod grpc;
mod model;
mod operations;
mod policy;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use events::snapshot;
pub(crate) use grpc::Guardianships;
pub(crate) use model::Guardianship;
pub(crate) use operations::{
    Family, Obstacle, all_of, are_family, awaited, decides_for, end_again, end_all_of, end_begun_since,
    end_due, establish, establish_all, family, hand_over, informed_guardians, is_of_age, is_protected,
    lasting_of, lock_people, may_hand_over, obstacle, obstacles, relation, restore,
};
pub(crate) use policy::rules;
pub(crate) use storage::{Side, list_current};
