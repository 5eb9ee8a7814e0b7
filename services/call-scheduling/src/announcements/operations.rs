//! Announcing calls in the chat of their unit.
//!
//! The call of chat carries the person's token, so the person's rights decide there. It is made outside any transaction,
//! with the call's id as `request_id`: however often it is tried, chat posts it once.
use parta_access::{Caller, OrgScope};
use parta_grpc::RequestExt as _;
use parta_ids::{CallId, OrgId, TypedId as _};
use parta_proto::parta::{
    call_scheduling::v1::AnnounceCallResponse,
    chat::internal::v1::{PostAnnouncementRequest, announcement_service_client::AnnouncementServiceClient},
};
use parta_status::{RpcError, permission_denied, unavailable};
use parta_storage::Mutation;
use tonic::{Code, IntoRequest as _, Status};

use crate::{
    calls::{grpc::convert, model::Call, storage::calls},
    context::App,
    error::Error,
};

impl App {
    /// Announces a call at its organizer's or the administration's wish.
    pub(crate) async fn announce(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: CallId,
    ) -> Result<AnnounceCallResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let (scope, call) = self.managed(self.db.conn(), caller, &facts, id).await?;
        if call.cancel_time.is_some() {
            return Err(Error::CallCancelled);
        }
        let (_, failure) = self.announce_once(caller, &scope, call).await?;
        if let Some(status) = failure {
            return Err(refused_by_chat(&status).into());
        }
        let scope = &scope;
        let response = self
            .db
            .mutate(mutation, |tx| async move {
                let call = calls::find(&tx, scope, id).await?.ok_or(Error::Unknown(id))?;
                parta_audit::record(&tx, caller, Some(org), call.resource_name()).await?;
                let call = Some(convert::whole_call(&call)?);
                Ok::<_, Error>(AnnounceCallResponse {
                    call,
                    ..Default::default()
                })
            })
            .await?;
        Ok(response)
    }

    /// Announces it unless it was announced, and answers the call as it then stands and why it could not be.
    pub(crate) async fn announce_once(
        &self,
        caller: &Caller,
        scope: &OrgScope,
        call: Call,
    ) -> Result<(Call, Option<Status>), Error> {
        if call.announced {
            return Ok((call, None));
        }
        let Some(token) = caller.token.clone() else {
            return Err(RpcError::internal("a person's call came without its token").into());
        };
        let request = PostAnnouncementRequest {
            request_id: call.id.uuid().to_string(),
            org_id: call.draft.org_id.to_string(),
            unit_id: call.draft.unit_id.to_string(),
            text: text(&call),
        };
        let request = request.into_request().idempotent().on_behalf(token);
        let channel = self.peers.client("chat").map_err(RpcError::internal)?;
        if let Err(status) = AnnouncementServiceClient::new(channel)
            .post_announcement(request)
            .await
        {
            tracing::info!(call.id = %call.id, code = ?status.code(), "the call was not announced");
            return Ok((call, Some(status)));
        }
        let id = call.id;
        let call = self
            .db
            .write(|tx| async move {
                calls::update_announced(&tx, scope, id).await?;
                calls::find(&tx, scope, id).await?.ok_or(Error::Unknown(id))
            })
            .await?;
        Ok((call, None))
    }
}

/// What people read in the chat.
fn text(call: &Call) -> String {
    let start = call.schedule.start.format("%d.%m.%Y, %H:%M");
    let repeat = match call.schedule.weekly.map(|w| w.interval) {
        None => String::new(),
        Some(1) => ", каждую неделю".to_owned(),
        Some(weeks) => format!(", раз в {weeks} нед."),
    };
    let place = match call.draft.room.as_str() {
        "" => String::new(),
        room => format!(", {room}"),
    };
    format!(
        "{}: «{}», {start}{repeat}{place}",
        call.draft.kind.rule().name,
        call.draft.title
    )
}

fn refused_by_chat(status: &Status) -> RpcError {
    match status.code() {
        Code::PermissionDenied | Code::NotFound => {
            permission_denied("This person may not announce in the chat of the unit.")
        }
        _ => unavailable("chat"),
    }
}
