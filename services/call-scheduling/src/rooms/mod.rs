//! Rooms of the media server: who was admitted to one, and who must leave it (R55, F18).
//!
//! Owns the table `room_entrant`: the members who got a token for a room that has not closed. Invariants: a
//! member is noted in the transaction that issues the token; each change of the facts on which the token
//! rests enqueues a job that judges the member again, in the transaction of the change; the media server
//! never receives the id of a member.

mod jobs;
mod media;
mod model;
mod purge;
mod storage;

pub(crate) use jobs::{JOB, Judgment, remove};
pub(crate) use media::{LiveKit, RoomAccess, TokenClaims, media_identity};
pub(crate) use model::{Entrant, Room};
pub(crate) use purge::purge;
pub(crate) use storage::{Affected, admit, judge_again, list_open_calls, lock, update_removed};
