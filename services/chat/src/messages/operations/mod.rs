mod announce;
mod list_entries;
mod mark_read;
mod send;

use std::sync::Arc;

pub(crate) use list_entries::ListEntries;
pub(crate) use mark_read::MarkRead;

use super::writer::Writer;
use crate::context::Context;

/// The hot paths of messages. They do not pass the edge: see `exceptions.rs`. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MessageService {
    context: Arc<Context>,
    writer: Writer,
}

impl MessageService {
    pub(crate) fn new(context: Arc<Context>, writer: Writer) -> Self {
        Self { context, writer }
    }
}
