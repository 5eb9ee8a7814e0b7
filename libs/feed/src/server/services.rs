use futures::{StreamExt, stream, stream::BoxStream};
use parta_access::Caller;
use parta_proto::parta::{call_scheduling, chat, feed::v1::Checkpoint, invitation, membership, org_registry};
use tonic::{Request, Response, Status};

use super::{FeedServer, WatchItem};
use crate::{CallSchedulingFeed, ChatFeed, InvitationFeed, MembershipFeed, OrgRegistryFeed};

/// Implements a generated feed service with the generic server.
macro_rules! feed_service {
    ($kind:ident, $package:path, $module:ident, $service:ident) => {
        const _: () = {
            use $package as pb;

            #[tonic::async_trait]
            impl pb::$module::$service for FeedServer<$kind> {
                type WatchStream = BoxStream<'static, Result<pb::WatchResponse, Status>>;
                async fn watch(
                    &self,
                    request: Request<pb::WatchRequest>,
                ) -> Result<Response<Self::WatchStream>, Status> {
                    let caller = Caller::of(&request)?;
                    let request = request.into_inner();
                    let stream = self
                        .watch_from(&caller, &request.cursor, &request.org_id)
                        .await?;
                    let stream = stream.map(|item| {
                        let (cursor, item) = item?;
                        let item = match item {
                            WatchItem::Event(event) => pb::watch_response::Item::Event(event),
                            WatchItem::Checkpoint(time) => pb::watch_response::Item::Checkpoint(Checkpoint {
                                observe_time: Some(time),
                            }),
                        };
                        Ok(pb::WatchResponse {
                            cursor,
                            item: Some(item),
                        })
                    });
                    Ok(Response::new(stream.boxed()))
                }

                type SnapshotStream = BoxStream<'static, Result<pb::SnapshotResponse, Status>>;
                async fn snapshot(
                    &self,
                    request: Request<pb::SnapshotRequest>,
                ) -> Result<Response<Self::SnapshotStream>, Status> {
                    let caller = Caller::of(&request)?;
                    let (events, cursor) = self
                        .take_snapshot(&caller, &request.get_ref().org_id)
                        .await?;
                    let events = events.into_iter().map(|event| pb::SnapshotResponse {
                        cursor: String::new(),
                        event: Some(event),
                    });
                    let end = pb::SnapshotResponse {
                        cursor,
                        event: None,
                    };
                    let stream = stream::iter(events.chain([end]).map(Ok));
                    Ok(Response::new(stream.boxed()))
                }
            }
        };
    };
}

feed_service!(
    OrgRegistryFeed,
    org_registry::v1,
    org_registry_feed_service_server,
    OrgRegistryFeedService
);
feed_service!(
    MembershipFeed,
    membership::v1,
    membership_feed_service_server,
    MembershipFeedService
);
feed_service!(
    InvitationFeed,
    invitation::v1,
    invitation_feed_service_server,
    InvitationFeedService
);
feed_service!(ChatFeed, chat::v1, chat_feed_service_server, ChatFeedService);
feed_service!(
    CallSchedulingFeed,
    call_scheduling::v1,
    call_scheduling_feed_service_server,
    CallSchedulingFeedService
);
