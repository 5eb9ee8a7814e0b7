//! Accounts: the people who sign in, with their proved addresses.
pub(crate) mod storage;
