use futures::{StreamExt as _, TryStreamExt as _, stream};
use parta_access::Caller;
use parta_proto::{FeedKind, FeedStream, ServeFeed, WatchItem};
use tonic::{Request, Status};

use super::FeedServer;

#[tonic::async_trait]
impl<K: FeedKind> ServeFeed for FeedServer<K> {
    type Kind = K;

    async fn watch(
        &self,
        request: Request<(String, String)>,
    ) -> Result<FeedStream<WatchItem<K::Event>>, Status> {
        let caller = Caller::of(&request)?;
        let (cursor, org_id) = request.into_inner();
        let messages = self.watch_from(&caller, &cursor, &org_id).await?;
        Ok(messages.map_err(Status::from).boxed())
    }

    async fn snapshot(&self, request: Request<String>) -> Result<FeedStream<Option<K::Event>>, Status> {
        let caller = Caller::of(&request)?;
        let (events, cursor) = self.take_snapshot(&caller, request.get_ref()).await?;
        let messages = events.into_iter().map(|event| (String::new(), Some(event)));
        Ok(stream::iter(messages.chain([(cursor, None)]).map(Ok)).boxed())
    }
}
