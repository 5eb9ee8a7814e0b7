//! Invitations: the links that staff hand over.
pub(crate) mod convert;
pub(crate) mod events;
pub mod model;
pub(crate) mod operations;
pub mod policy;
pub(crate) mod queries;
pub(crate) mod secret;
pub(crate) mod storage;
