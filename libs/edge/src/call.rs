use bytes::Bytes;
use parta_access::Caller;
use parta_mutations::{Mutation, REQUEST_ID, REQUEST_ID_RULE, request_uuid};
use parta_proto::MutationRequest;
use parta_status::{FieldViolations, RpcError};
use tonic::{Status, Streaming};

/// A request that has entered the edge.
#[derive(Debug)]
pub struct Call<T> {
    caller: Caller,
    request: T,
    /// The bytes by which requests are compared: the message as it was received, and a hash of the content
    /// that followed it. `None` where the layers of the server did not capture the message.
    received: Option<Bytes>,
}

impl<T> Call<T> {
    pub(crate) fn new(caller: Caller, request: T) -> Self {
        Self {
            caller,
            request,
            received: parta_proto::captured_request(),
        }
    }

    /// The caller.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The request message.
    pub fn request(&self) -> &T {
        &self.request
    }

    /// Decodes the request of a query. `decode` notes every wrong field; if it notes one, the call is
    /// refused with FIELD_INVALID that names all of them.
    pub fn query<Q>(
        &self,
        decode: impl FnOnce(&mut FieldViolations, &T) -> Option<Q>,
    ) -> Result<Q, RpcError> {
        let mut violations = FieldViolations::default();
        let decoded = decode(&mut violations, &self.request);
        violations.finish()?;
        decoded.ok_or_else(|| RpcError::internal("a request was not decoded, and no violation was noted"))
    }
}

impl<T> Call<Streaming<T>> {
    /// Reads the first message of a client stream and returns the call that it makes, with the rest of the
    /// stream. `None` if the stream has no message. The caller of the RPC is authorized by the first message
    /// before the rest is received.
    pub async fn first_message(mut self) -> Result<Option<(Call<T>, Streaming<T>)>, Status> {
        let first = self.request.message().await?;
        Ok(first.map(|first| (Call::new(self.caller, first), self.request)))
    }
}

impl<T: MutationRequest> Call<T> {
    /// Adds the content that followed the first message, by its hash, to the bytes by which requests are
    /// compared.
    #[must_use]
    pub fn with_content(mut self, hash: &[u8]) -> Self {
        let message = self.received.take();
        let mut bytes = message.map_or_else(|| self.request.encode_to_vec(), Vec::from);
        bytes.extend_from_slice(hash);
        self.received = Some(bytes.into());
        self
    }

    /// Decodes the request of a mutation, its `request_id` included, as [`Call::query`] does.
    pub fn mutation<M>(
        &self,
        decode: impl FnOnce(&mut FieldViolations, &T) -> Option<M>,
    ) -> Result<M, RpcError> {
        self.query(|violations, request| {
            let named = request_uuid(request.request_id()).is_some();
            violations.check(named, REQUEST_ID, REQUEST_ID_RULE);
            decode(violations, request)
        })
    }

    pub(crate) fn key(&self) -> Result<Mutation, RpcError> {
        match &self.received {
            Some(bytes) => Mutation::of_bytes(&self.caller, self.request.request_id(), bytes.clone()),
            None => Mutation::new(&self.caller, self.request.request_id(), &self.request),
        }
    }
}

#[cfg(test)]
mod tests {
    use parta_proto_org_registry::v1::SubmitApplicationRequest;

    use super::*;

    fn received(bytes: Option<&'static [u8]>) -> Option<Bytes> {
        let request = SubmitApplicationRequest {
            request_id: "id".to_owned(),
            part: None,
        };
        let call = Call {
            caller: Caller::anonymous("parta.org_registry.v1.ApplicationService/SubmitApplication"),
            request,
            received: bytes.map(Bytes::from_static),
        };
        call.with_content(b"hash").received
    }

    #[test]
    fn stream_is_compared_by_message_as_received_and_content() {
        // Field 999 is unknown to this build.
        let newer = b"\x0a\x02id\xb8\x3e\x01";
        assert_eq!(
            received(Some(newer)).unwrap(),
            b"\x0a\x02id\xb8\x3e\x01hash".as_slice()
        );
        assert_eq!(received(None).unwrap(), b"\x0a\x02idhash".as_slice());
    }
}
