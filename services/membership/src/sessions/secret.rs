//! Refresh tokens, and the ids by which organizations know a session. Both are derived and never stored.
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Secrets;
use parta_ids::{MemberId, OrgId, SessionId, TypedId as _};
use subtle::ConstantTimeEq as _;

use crate::context::derived_uuid;

pub(super) fn refresh_token(secrets: &Secrets, session: SessionId, generation: i64) -> String {
    let parts = [&session.uuid().as_bytes()[..], &generation.to_be_bytes()].concat();
    let digest = secrets.hmac("membership.refresh", &parts);
    format!("{session}.{generation}.{}", URL_SAFE_NO_PAD.encode(digest))
}

/// Reads a refresh token; `None` for one that this installation did not issue.
pub(super) fn read_refresh_token(secrets: &Secrets, text: &str) -> Option<(SessionId, i64)> {
    let mut parts = text.splitn(3, '.');
    let (session, generation) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let genuine = refresh_token(secrets, session, generation);
    bool::from(genuine.as_bytes().ct_eq(text.as_bytes())).then_some((session, generation))
}

/// The id by which join tickets know a session, so that they do not show the id of the account's tokens.
pub(crate) fn joining_session(secrets: &Secrets, session: SessionId) -> SessionId {
    SessionId::from_uuid(derived_uuid(
        secrets.hmac("membership.joining_session", session.uuid().as_bytes()),
    ))
}

/// The ids under which the tokens of a session name it: those of the account, join tickets, and those of each
/// organization where the person is one of these members.
pub(super) fn known_ids(
    secrets: &Secrets,
    session: SessionId,
    members: &[(OrgId, MemberId)],
) -> Vec<SessionId> {
    let mut ids = vec![session, joining_session(secrets, session)];
    let pairwise = |(org, member): &(OrgId, MemberId)| pairwise_session(secrets, session, *org, *member);
    ids.extend(members.iter().map(pairwise));
    ids
}

/// The id by which an organization knows a session of a member. Two organizations cannot match theirs (R28).
/// The member is part of it, so that a person whose token for one record is refused can act as another one.
pub(crate) fn pairwise_session(
    secrets: &Secrets,
    session: SessionId,
    org: OrgId,
    member: MemberId,
) -> SessionId {
    let (session, org, member) = (session.uuid(), org.uuid(), member.uuid());
    let parts = [&session.as_bytes()[..], org.as_bytes(), member.as_bytes()].concat();
    SessionId::from_uuid(derived_uuid(secrets.hmac("membership.session", &parts)))
}
