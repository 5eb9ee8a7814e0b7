//! The gRPC face: decode, operate, encode. No decisions here.

use parta_access::Caller;
use parta_ids::TypedId;
use parta_status::{FieldViolations, RpcError, field};
use tonic::{Request, Response, Status};

use crate::context::App;

pub(crate) type Answer<T> = Result<Response<T>, Status>;

impl App {
    /// Who calls, and what is asked, once everything that the caller has seen has arrived here.
    pub(crate) async fn enter<T>(&self, request: Request<T>) -> Result<(Caller, T), RpcError> {
        let caller = Caller::of(&request)?;
        self.at_least.wait_for(request.metadata()).await?;
        Ok((caller, request.into_inner()))
    }
}

/// One required id.
pub(crate) fn id<T: TypedId>(path: &str, value: &str) -> Result<T, RpcError> {
    let mut v = FieldViolations::default();
    let id = field::id(&mut v, path, value);
    checked(v, id)
}

/// Two required ids, both faults named.
pub(crate) fn ids<A: TypedId, B: TypedId>(
    first: (&str, &str),
    second: (&str, &str),
) -> Result<(A, B), RpcError> {
    let mut v = FieldViolations::default();
    let a = field::id(&mut v, first.0, first.1);
    let b = field::id(&mut v, second.0, second.1);
    checked(v, a.zip(b))
}

/// What was read, where nothing was wrong with it.
pub(crate) fn checked<T>(violations: FieldViolations, value: Option<T>) -> Result<T, RpcError> {
    violations.finish()?;
    value.ok_or_else(|| RpcError::internal("a fault of a field was not noted"))
}
