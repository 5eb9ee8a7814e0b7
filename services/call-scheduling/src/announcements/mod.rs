//! Announcements of calls in the chat of their unit. Owns no table.
mod operations;
