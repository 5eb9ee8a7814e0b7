//! Accounts: the people who sign in, with the addresses that they proved (R19).
//!
//! Owns the tables `account` and `account_address`. They belong to no organization, and no id of an account
//! leaves the service but to its own person. Has no RPCs: sign-in and sessions read and make accounts.
//! Invariant: an account signs in by one proved address. An earlier one is kept with its end: it signs nobody
//! in, and it still shows which accounts are of one person.

mod model;
mod storage;

pub(crate) use model::{Account, Address};
pub(crate) use storage::{
    addresses, find, has_address, has_replaced_address_since, insert, list_by_address, list_sharing_address,
    lock, phones, replace_address,
};
