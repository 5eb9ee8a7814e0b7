//! Receiving the order that follows the header of an application.
use parta_proto_org_registry::v1::{SubmitApplicationRequest, submit_application_request::Part};
use parta_status::invalid;
use sha2::{Digest as _, Sha256};
use tonic::{Status, Streaming};

use super::super::model::DOCUMENT_MAX_BYTES;

/// A received order.
pub(super) struct Document {
    pub(super) bytes: Vec<u8>,
    pub(super) sha256: [u8; 32],
}

impl Document {
    /// Receives the messages after the header. Fails as soon as the document exceeds the limit.
    pub(super) async fn receive(mut rest: Streaming<SubmitApplicationRequest>) -> Result<Self, Status> {
        let mut bytes = Vec::new();
        while let Some(message) = rest.message().await? {
            let chunk = match message.part {
                Some(Part::Chunk(chunk)) => chunk,
                Some(Part::Header(_)) => return Err(invalid("header", "must come once, first").into()),
                None => return Err(invalid("chunk", "is missing in a message").into()),
            };
            if bytes.len() + chunk.len() > DOCUMENT_MAX_BYTES {
                return Err(invalid("chunk", "the document must not exceed 20 MiB").into());
            }
            bytes.extend_from_slice(&chunk);
        }
        let sha256 = Sha256::digest(&bytes).into();
        Ok(Self { bytes, sha256 })
    }
}
