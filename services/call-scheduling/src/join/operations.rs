//! Letting people into the media server's room (R55).
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use parta_access::{Caller, authorize};
use parta_ids::{CallId, MemberId, OrgId, TypedId as _};
use parta_proto::parta::call_scheduling::v1::IssueJoinTokenResponse;
use parta_roster::{MemberContext, Role};
use parta_status::unavailable;

use super::media::{Entrance, Ticket};
use crate::{
    calls::{
        grpc::convert,
        model::{Format, MARGIN, TOKEN_TTL},
        policy,
        storage::occurrences,
    },
    context::App,
    error::Error,
};

impl App {
    /// Issues a token to whoever belongs to the audience at this moment. The audit row is committed before it is told.
    pub(crate) async fn issue_join_token(
        &self,
        caller: &Caller,
        org: OrgId,
        id: CallId,
        start: DateTime<Utc>,
    ) -> Result<IssueJoinTokenResponse, Error> {
        let facts = &self.facts(caller, org).await?;
        let media = self
            .media
            .as_ref()
            .ok_or_else(|| unavailable("the media server"))?;
        self.db
            .write(|tx| async move {
                let (_, call) = self.seen(&tx, caller, facts, id).await?;
                let scope = authorize(caller, org, policy::join(facts, &call))?;
                if call.draft.format == Format::InPerson {
                    return Err(Error::NotOnline);
                }
                if call.cancel_time.is_some() {
                    return Err(Error::CallCancelled);
                }
                let slot = call.slot_at(start).ok_or(Error::UnknownOccurrence(id))?;
                let known = occurrences::find(&tx, &scope, id, start).await?;
                if known.cancelled {
                    return Err(Error::OccurrenceCancelled);
                }
                let (open, close, now) = (slot.start - MARGIN, slot.end + MARGIN, tx.now());
                if now < open || now >= close {
                    return Err(Error::OutsideJoinWindow { open, close });
                }
                let staff = facts.is_staff();
                if staff && !known.staff_came {
                    occurrences::update_staff_came(&tx, &scope, id, start, now).await?;
                }
                let entrance = match staff {
                    true if call.organizer_id == facts.member_id => Entrance::Host,
                    true => Entrance::Participant,
                    false if known.staff_came => Entrance::Participant,
                    false => Entrance::Lobby,
                };
                let expire_time = close.min(now + TOKEN_TTL);
                let ticket = Ticket {
                    room: call.room(&slot),
                    identity: self.media_identity(org, facts.member_id),
                    role: role_name(facts),
                    entrance,
                    not_before: now,
                    expire_time,
                };
                let name = format!("{}/occurrences/{}/token", call.resource_name(), start.timestamp());
                parta_audit::record(&tx, caller, Some(org), name).await?;
                Ok(IssueJoinTokenResponse {
                    server_url: media.url.clone(),
                    token: media.sign(&ticket)?,
                    room: ticket.room,
                    expire_time: Some(convert::timestamp(expire_time)),
                    lobby: entrance == Entrance::Lobby,
                })
            })
            .await
    }

    /// Who somebody is to the media server: another name in each organization, and not the member's id (R28).
    fn media_identity(&self, org: OrgId, member: MemberId) -> String {
        let mut bytes = org.uuid().as_bytes().to_vec();
        bytes.extend_from_slice(member.uuid().as_bytes());
        URL_SAFE_NO_PAD.encode(&self.secrets.hmac("call-scheduling.media-identity", &bytes)[..16])
    }
}

fn role_name(facts: &MemberContext) -> &'static str {
    let has = |role: Role| facts.roles.contains(&role);
    if has(Role::Teacher) {
        "teacher"
    } else if facts.is_staff() {
        "staff"
    } else if has(Role::Pupil) {
        "pupil"
    } else {
        "parent"
    }
}
