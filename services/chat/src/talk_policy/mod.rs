//! The rules of personal and custom chats (R34 to R37): pure functions over the facts of the roster. Has no
//! RPCs and no tables.
mod policy;
#[cfg(test)]
mod tests;

pub(crate) use policy::{NamedChat, Standing, are_kept_apart, may_name, may_talk, must_leave, named_chat};
