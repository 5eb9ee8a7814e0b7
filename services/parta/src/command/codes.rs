//! `parta codes`: prints one-time codes from the development outbox.
use clap::Args;
use parta_proto_membership::v1 as pb;

use super::Common;
use crate::output::{Failure, json as to_json};

#[derive(Debug, Args)]
pub struct Codes {
    /// Only codes to this phone or e-mail address.
    #[arg(long)]
    recipient: Option<String>,
    /// Maximum number of codes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=200))]
    count: i32,
}

impl Codes {
    pub(super) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (session, output) = (common.operator()?, common.print());
        let request = pb::ListOutboxMessagesRequest {
            recipient: self.recipient.unwrap_or_default(),
            page_size: self.count,
            ..Default::default()
        };
        let mut response = session
            .operators()
            .list_outbox_messages(request)
            .await?
            .into_inner();
        for message in &response.messages {
            output.line(format!("{}  {}", message.recipient, message.text));
        }
        if response.messages.is_empty() {
            output.line("the outbox is empty");
        }
        // The command prints one page; the token of the next page is left out of the document.
        response.next_page_token.clear();
        output.document(&to_json(
            "parta.membership.v1.ListOutboxMessagesResponse",
            &response,
        )?);
        Ok(())
    }
}
