mod announce;
mod authors;
mod list_entries;
mod mark_read;
mod send;

use std::sync::Arc;

pub(crate) use authors::ListAuthors;
pub(crate) use list_entries::ListEntries;
pub(crate) use mark_read::MarkRead;

use parta_grpc::ServiceChannel;

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

    /// The service that has the names of members.
    pub(crate) fn membership(&self) -> ServiceChannel {
        self.context.membership.clone()
    }
}
