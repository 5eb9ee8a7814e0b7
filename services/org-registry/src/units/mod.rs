//! Units: classes, groups, departments and the staff room.
pub(crate) mod events;
pub(crate) mod grpc;
pub(crate) mod operations;
pub(crate) mod policy;
pub(crate) mod storage;
