//! Accounts: the people who sign in, with the addresses that they proved (R19).
//!
//! Owns the tables `account` and `account_address`. They belong to no organization, and no id of an account
//! leaves the service but to its own person. Has no RPCs: sign-in and sessions read and make accounts.
//! Invariant: an account has at least one proved address.

mod model;
mod storage;

pub(crate) use model::{Account, Address};
pub(crate) use storage::{
    addresses, find, has_address, insert, list_by_address, list_sharing_address, phones,
};
