//! What the operator of a development installation sees of messages.
use parta_access::Caller;
use parta_proto::parta::membership::v1::{ErrorReason, ListOutboxMessagesResponse, OutboxMessage};

use super::storage as outbox;
use crate::{
    config::DeliveryKind,
    context::{Context, Page},
    error::Error,
    feed::timestamp,
};

impl Context {
    pub(crate) async fn list_outbox(
        &self,
        caller: &Caller,
        recipient: &str,
        page: Page<'_>,
    ) -> Result<ListOutboxMessagesResponse, Error> {
        if self.delivery != DeliveryKind::Outbox {
            return Err(Error::State(ErrorReason::OutboxAbsent));
        }
        let after = self.db.decode_page(caller, &page.filter, page.token)?;
        let mut rows = outbox::list(self.db.conn(), recipient, after, page.size + 1).await?;
        let next_page_token = self.cut(caller, &page, &mut rows, |row| row.message_id);
        let message = |row: outbox::Message| OutboxMessage {
            recipient: row.recipient,
            text: row.text,
            create_time: Some(timestamp(row.create_time)),
        };
        Ok(ListOutboxMessagesResponse {
            messages: rows.into_iter().map(message).collect(),
            next_page_token,
        })
    }
}
