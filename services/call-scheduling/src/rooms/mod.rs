//! Rooms of the media server: who was admitted to one, and the next look into it (R55, F15, F18).
//!
//! Owns the tables `room`, the rooms that have not closed, and `room_entrant`, the people who got a token for
//! one. Invariants: a person is noted in the transaction that issues the token; each open room has one job
//! that looks into it next; a change of the facts on which tokens rest makes that job due at once, in the
//! transaction of the change; one identity has one standing, so that a token gives no more than the person
//! was admitted with; the media server never receives the id of a member.

mod jobs;
mod media;
mod model;
mod purge;
mod storage;

pub(crate) use jobs::{JOB, Look};
pub(crate) use media::{LiveKit, MediaError, RoomAccess, TokenClaims, media_identity};
pub(crate) use model::{Entrant, Label, Present, Room, Standing};
pub(crate) use purge::purge;
pub(crate) use storage::{
    Affected, Looked, admit, end_sessions, expect_staff, find, list_entrants, list_open_calls, lock,
    look_again, open, update_looked,
};
