//! Member records: who is known in an organization, in which state and with which roles.
//!
//! Owns the tables `member` and `released_profile`. Has no RPCs: the features after it decide, and
//! change records through it; it decides only whom of the members a caller sees. Invariants: an account
//! is at most one member of an organization; each change and its event are committed together; a member
//! who left and returns has nothing of the earlier membership.

mod combination;
mod error;
pub(crate) mod events;
mod model;
mod operations;
mod policy;
pub(crate) mod storage;

pub(crate) use combination::may_combine;
pub(crate) use model::{LeaveReason, Member, MemberView, name_key};
pub(crate) use operations::{
    join_again, lock_both_to_decide, lock_present, lock_to_decide, namesakes_of_staff, staff_named,
    visible_members,
};
pub(crate) use policy::{administer, manage, reads_sample};
pub(crate) use storage::{
    find_by_account, list_of_account, members_of_account, members_of_accounts, releases,
};
