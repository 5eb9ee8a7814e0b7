//! The request extensions that the layers of the client read.
use std::sync::Arc;

/// Request extension: the token of the person to forward. The rights of the person decide.
#[derive(Clone)]
pub struct OnBehalf(pub Arc<str>);

/// Request extension: the request may be retried, because it is a read or has a `request_id`.
#[derive(Debug, Clone, Copy)]
pub struct Idempotent;

/// Sets how a request is sent: `pb::GetUnitRequest{..}.into_request().idempotent()`.
pub trait RequestExt: Sized {
    /// Forwards the token of the person.
    #[must_use]
    fn on_behalf(self, token: Arc<str>) -> Self;
    /// Permits retries.
    #[must_use]
    fn idempotent(self) -> Self;
}

impl<T> RequestExt for tonic::Request<T> {
    fn on_behalf(mut self, token: Arc<str>) -> Self {
        self.extensions_mut().insert(OnBehalf(token));
        self
    }

    fn idempotent(mut self) -> Self {
        self.extensions_mut().insert(Idempotent);
        self
    }
}
