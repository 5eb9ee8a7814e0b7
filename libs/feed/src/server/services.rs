use futures::{StreamExt as _, TryStreamExt as _};
use parta_access::{Caller, Principal};
use parta_proto::{
    EventPage, FeedKind, FeedStream, HeadStream, ServeFeed, WatchItem,
    feed::v1::{ReadRequest, SnapshotRequest, WatchHeadsRequest, WatchRequest},
};
use parta_status::caller_not_accepted;
use tonic::{Request, Status};

use super::{FeedServer, heads::watch_heads};

#[tonic::async_trait]
impl<K: FeedKind> ServeFeed for FeedServer<K> {
    type Kind = K;

    async fn read(&self, request: Request<ReadRequest>) -> Result<EventPage<K::Event>, Status> {
        let caller = Caller::of(&request)?;
        Ok(self.read_page(&caller, request.get_ref()).await?)
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<FeedStream<WatchItem<K::Event>>, Status> {
        let caller = Caller::of(&request)?;
        let messages = self.watch_from(&caller, request.get_ref()).await?;
        Ok(messages.map_err(Status::from).boxed())
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<FeedStream<Option<K::Event>>, Status> {
        let caller = Caller::of(&request)?;
        let messages = self.stream_snapshot(&caller, &request.get_ref().org_id).await?;
        Ok(messages.map_err(Status::from).boxed())
    }

    async fn watch_heads(&self, request: Request<WatchHeadsRequest>) -> Result<HeadStream, Status> {
        let caller = Caller::of(&request)?;
        if !matches!(caller.principal, Principal::Service { .. }) {
            return Err(caller_not_accepted(caller.rpc, "Only services can follow the heads.").into());
        }
        let responses = watch_heads(self.db.clone(), self.cancel.clone());
        Ok(responses.map_err(Status::from).boxed())
    }
}
