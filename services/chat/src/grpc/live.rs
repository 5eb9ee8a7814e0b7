use std::{pin::Pin, time::Duration};

use futures::{Stream, stream};
use parta_proto::parta::chat::v1::{self as pb, live_service_server::LiveService};
use tonic::{Request, Response, Status};

use super::{Answer, convert};
use crate::{
    live::{Settings, subscribe},
    operations::App,
};

/// Serves live streams. The layers end them with the credential, with the session and when the server drains.
#[derive(Clone)]
pub(crate) struct LiveServer {
    pub(crate) app: App,
    pub(crate) heartbeat: Duration,
}

#[tonic::async_trait]
impl LiveService for LiveServer {
    type SubscribeChatsStream =
        Pin<Box<dyn Stream<Item = Result<pb::SubscribeChatsResponse, Status>> + Send>>;

    async fn subscribe_chats(
        &self,
        request: Request<pb::SubscribeChatsRequest>,
    ) -> Answer<Self::SubscribeChatsStream> {
        let app = &self.app;
        let (caller, request) = app.enter(request).await?;
        let (org, cursors) = convert::subscribe(&request)?;
        let (scope, facts) = app.reader(app.db.conn(), &caller, org).await?;
        let settings = Settings {
            db: app.db.clone(),
            live: app.live.clone(),
            roster: app.roster.clone(),
            heartbeat: self.heartbeat,
        };
        let subscription = subscribe(settings, scope, facts.member_id, cursors).await?;
        let entries = stream::unfold(Some(subscription), |subscription| async move {
            let mut subscription = subscription?;
            match subscription.next().await {
                Ok(response) => Some((Ok(response), Some(subscription))),
                Err(error) => Some((Err(Status::from(error)), None)),
            }
        });
        Ok(Response::new(Box::pin(entries)))
    }
}
