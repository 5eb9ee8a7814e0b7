//! The gRPC face: decode, operate, encode. No decisions here.
use parta_access::Caller;
use parta_status::RpcError;
use tonic::{Request, Response, Status};

use crate::context::Context;

pub(crate) type Answer<T> = Result<Response<T>, Status>;

impl Context {
    /// Who calls with what, once everything is known here that the caller's consistency token speaks of.
    pub(crate) async fn enter<T>(&self, request: Request<T>) -> Result<(Caller, T), RpcError> {
        let caller = Caller::of(&request)?;
        self.at_least.wait_for(request.metadata()).await?;
        Ok((caller, request.into_inner()))
    }
}
