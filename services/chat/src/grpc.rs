//! The gRPC face: decode, operate, encode. No decisions here.
mod announcements;
mod chats;
pub(crate) mod convert;
mod live;
mod messages;

use parta_access::Caller;
use parta_status::RpcError;
use tonic::{Request, Response, Status};

pub(crate) use live::LiveServer;

use crate::operations::App;

type Answer<T> = Result<Response<T>, Status>;

impl App {
    /// Who calls and what for, after everything that the caller has seen elsewhere has arrived here.
    async fn enter<T>(&self, request: Request<T>) -> Result<(Caller, T), RpcError> {
        let caller = Caller::of(&request)?;
        self.at_least.wait_for(request.metadata()).await?;
        Ok((caller, request.into_inner()))
    }
}
