//! What is done with chats and what is read of them.
mod change;
mod read;

pub(crate) use change::CreateChat;
