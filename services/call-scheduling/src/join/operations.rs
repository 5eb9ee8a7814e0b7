//! Issuing tokens to join a call.
use chrono::{DateTime, TimeDelta, Utc};
use parta_access::{Caller, Principal, authorize};
use parta_edge::{Act, UnclaimedMutation};
use parta_ids::{CallId, OrgId, SessionId};
use parta_status::{RpcError, unavailable};

use super::policy;
use crate::{
    calls::{self, Format},
    context::{Context, Run},
    error::{Error, unit_archived},
    rooms::{self, Entrant, LiveKit, Room, RoomAccess, TokenClaims},
};

/// The room opens this long before the start and closes this long after the end.
const ROOM_MARGIN: TimeDelta = TimeDelta::minutes(15);
/// The longest validity of a token.
const TOKEN_TTL: TimeDelta = TimeDelta::minutes(10);

/// Issues a token to a member of the audience. The audit row is committed before the response.
#[derive(Debug)]
pub(crate) struct IssueJoinToken {
    pub(crate) org_id: OrgId,
    pub(crate) call_id: CallId,
    pub(crate) start_time: DateTime<Utc>,
}

/// A token of the media server.
pub(crate) struct JoinToken {
    pub(crate) server_url: String,
    pub(crate) token: String,
    pub(crate) room: String,
    pub(crate) expire_time: DateTime<Utc>,
    /// Whether the token admits to the lobby only.
    pub(crate) lobby: bool,
}

impl UnclaimedMutation for IssueJoinToken {
    type Context = Context;
    type View = JoinToken;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Act<JoinToken>, Error> {
        let Run { context, tx, caller } = run;
        let visible = calls::load_visible(run, self.org_id, self.call_id).await?;
        let (facts, call, named) = (&visible.facts, &visible.call, visible.named.as_slice());
        let scope = &authorize(caller, self.org_id, policy::join(facts, call, named))?;
        let (start, now) = (self.start_time, tx.now());
        let media = LiveKit::of(&context.config, &context.secrets, context.loopback_only)
            .ok_or_else(|| unavailable("the media server"))?;
        if call.draft.format == Format::InPerson {
            return Err(Error::not_online());
        }
        let unit_id = call.draft.unit_id;
        let unit = context.roster.unit(tx, self.org_id, unit_id).await?;
        if unit.is_none_or(|unit| unit.archived) {
            return Err(unit_archived(unit_id).into());
        }
        if call.is_canceled_at(start) {
            return Err(Error::CallCanceled);
        }
        let slot = call.slot_at(start).ok_or(Error::UnknownOccurrence(call.id))?;
        if calls::is_canceled(tx, scope, call.id, start).await? {
            return Err(Error::occurrence_canceled());
        }
        let (open, close) = (slot.start - ROOM_MARGIN, slot.end + ROOM_MARGIN);
        if now < open || now >= close {
            return Err(Error::outside_join_window(open, close));
        }
        let room = Room {
            call_id: call.id,
            start_time: slot.start,
        };
        let open_room = rooms::open(tx, scope, room, close).await?;
        let staff = calls::attends_as_staff(facts, call, named);
        if staff {
            rooms::expect_staff(tx, scope, &open_room).await?;
        }
        let standing = policy::standing(facts, call, named);
        let access = match staff {
            true if standing.host => RoomAccess::Host,
            true => RoomAccess::Participant,
            false if open_room.is_open(call.has_pupils(), now) => RoomAccess::Participant,
            false => RoomAccess::Lobby,
        };
        let session_id = session_of(caller)?;
        let person = (facts.member_id, session_id);
        let entrant = Entrant {
            room,
            identity: rooms::media_identity(&context.secrets, self.org_id, person, standing),
            member_id: facts.member_id,
            session_id,
            standing,
            close_time: close,
            session_ended: false,
        };
        rooms::admit(tx, scope, &entrant).await?;
        let claims = TokenClaims {
            room: room.name(),
            identity: entrant.identity,
            role: standing.label.text(),
            access,
            not_before: now,
            expire_time: close.min(now + TOKEN_TTL),
        };
        let object = format!("{}/token", call.occurrence_name(start));
        parta_audit::record(tx, caller, Some(self.org_id), object).await?;
        Ok(Act::Done(JoinToken {
            token: media.sign(&claims)?,
            server_url: media.url,
            room: claims.room,
            expire_time: claims.expire_time,
            lobby: access == RoomAccess::Lobby,
        }))
    }
}

/// The session of the person who joins.
fn session_of(caller: &Caller) -> Result<SessionId, RpcError> {
    match caller.acting() {
        Principal::Person { session_id, .. } => Ok(*session_id),
        _ => Err(RpcError::internal("only a person joins a call")),
    }
}
