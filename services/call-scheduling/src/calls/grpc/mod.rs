//! The conversion of calls from and to messages.
pub(crate) mod convert;
