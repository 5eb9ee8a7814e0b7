use bytes::Bytes;
use parta_access::Caller;
use parta_proto::MutationRequest;
use parta_status::{FieldViolations, RpcError};
use parta_storage::{Mutation, REQUEST_ID, REQUEST_ID_RULE, request_uuid};

/// A request that has entered the edge.
#[derive(Debug)]
pub struct Call<T> {
    caller: Caller,
    request: T,
    /// The request as it was received; `None` where the layers of the server did not capture it, as for
    /// streams.
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

    /// Separates the stream of a client from its call.
    pub fn split(self) -> (Call<()>, T) {
        let call = Call {
            caller: self.caller,
            request: (),
            received: None,
        };
        (call, self.request)
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

impl Call<()> {
    /// The call of a stream whose first message, which names the act, was received.
    pub fn with_first<T>(self, first: T) -> Call<T> {
        Call {
            caller: self.caller,
            request: first,
            received: parta_proto::captured_request(),
        }
    }
}

impl<T: MutationRequest> Call<T> {
    /// Adds the hash of everything that followed the first message of a stream, so that a repetition must
    /// have the same content too.
    #[must_use]
    pub fn with_content(mut self, hash: &[u8]) -> Self {
        let first = self.received.take();
        let mut bytes = first.map_or_else(|| self.request.encode_to_vec(), Vec::from);
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
