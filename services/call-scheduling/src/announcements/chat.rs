//! The call to chat that posts an announcement.
use parta_access::Caller;
use parta_grpc::RequestExt as _;
use parta_ids::{TypedId as _, UnitId};
use parta_proto_chat::internal::v1::{
    PostAnnouncementRequest, announcement_service_client::AnnouncementServiceClient,
};
use parta_status::{RpcError, permission_denied, unavailable};
use tonic::{Code, IntoRequest as _, Status};

use crate::{
    calls::Call,
    context::Context,
    error::{Error, unit_archived},
};

/// Posts the announcement of a call to its audience with the rights of the caller. Returns the refusal if
/// chat did not post it. Repeated calls post it only once.
pub(super) async fn post(context: &Context, caller: &Caller, call: &Call) -> Result<Option<Error>, RpcError> {
    let Some(token) = caller.token.clone() else {
        return Err(RpcError::internal("the request of a person has no token"));
    };
    let audience = call.draft.kind.rule().audience;
    let request = PostAnnouncementRequest {
        request_id: call.id.uuid().to_string(),
        org_id: call.draft.org_id.to_string(),
        unit_id: call.draft.unit_id.to_string(),
        text: text(call),
        pupils: audience.pupils,
        parents: audience.parents,
    };
    let request = request.into_request().idempotent().on_behalf(token);
    let channel = context.clients.client("chat").map_err(RpcError::internal)?;
    let response = AnnouncementServiceClient::new(channel)
        .post_announcement(request)
        .await;
    Ok(response.err().map(|status| {
        tracing::info!(call.id = %call.id, code = ?status.code(), "chat did not post an announcement");
        refusal(&status, call.draft.unit_id)
    }))
}

/// The text of the message, in the language of the school.
fn text(call: &Call) -> String {
    let start = call.schedule.start.format("%d.%m.%Y, %H:%M");
    let repeat = match call.schedule.weekly.map(|w| w.interval) {
        None => String::new(),
        Some(1) => ", каждую неделю".to_owned(),
        Some(weeks) => format!(", раз в {weeks} нед."),
    };
    let location = match call.draft.room.as_str() {
        "" => String::new(),
        room => format!(", {room}"),
    };
    format!(
        "{}: «{}», {start}{repeat}{location}",
        call.draft.kind.rule().name,
        call.draft.title
    )
}

fn refusal(status: &Status, unit: UnitId) -> Error {
    let refused = RpcError::from_status(status);
    let reason = refused.as_ref().map(RpcError::reason).unwrap_or_default();
    match (status.code(), reason) {
        (Code::FailedPrecondition, "ANNOUNCEMENT_REACHES_NOBODY") => Error::reaches_nobody(unit),
        (Code::FailedPrecondition, "CHAT_ARCHIVED") => unit_archived(unit).into(),
        (Code::PermissionDenied | Code::NotFound | Code::FailedPrecondition, _) => {
            permission_denied("You cannot write in the chats of the audience of this call.").into()
        }
        _ => unavailable("chat").into(),
    }
}
