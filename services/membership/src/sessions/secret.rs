//! Secrets that are derived instead of kept: codes, refresh tokens, keys of service accounts, session ids by organization.
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Secrets;
use parta_ids::{AccountId, FlowId, OrgId, ServiceAccountId, SessionId, TypedId as _, Uuid};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

fn uuid_of(digest: [u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn mac(secrets: &Secrets, label: &str, parts: &[&[u8]]) -> [u8; 32] {
    secrets.hmac(label, &parts.concat())
}

/// The code of a flow. It is a pseudo-random function of the flow's id, so that none is stored, not even as a hash.
pub(crate) fn code(secrets: &Secrets, flow: FlowId) -> String {
    let digest = mac(secrets, "membership.code", &[flow.uuid().as_bytes()]);
    let mut number = [0; 8];
    number.copy_from_slice(&digest[..8]);
    format!("{:06}", u64::from_be_bytes(number) % 1_000_000)
}

/// Whether this is the flow's code, compared in constant time.
pub(crate) fn is_code(secrets: &Secrets, flow: FlowId, given: &str) -> bool {
    code(secrets, flow).as_bytes().ct_eq(given.as_bytes()).into()
}

/// The refresh token of a session's generation.
pub(crate) fn refresh_token(secrets: &Secrets, session: SessionId, generation: i64) -> String {
    let digest = mac(
        secrets,
        "membership.refresh",
        &[session.uuid().as_bytes(), &generation.to_be_bytes()],
    );
    format!("{session}.{generation}.{}", URL_SAFE_NO_PAD.encode(digest))
}

/// What a refresh token speaks of; `None` if it is none of ours.
pub(crate) fn read_refresh_token(secrets: &Secrets, text: &str) -> Option<(SessionId, i64)> {
    let mut parts = text.splitn(3, '.');
    let (session, generation) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let genuine = refresh_token(secrets, session, generation);
    bool::from(genuine.as_bytes().ct_eq(text.as_bytes())).then_some((session, generation))
}

/// A session's id towards one organization; two organizations cannot match theirs (R28).
pub(crate) fn pairwise_session(secrets: &Secrets, session: SessionId, org: OrgId) -> SessionId {
    let digest = mac(
        secrets,
        "membership.session",
        &[session.uuid().as_bytes(), org.uuid().as_bytes()],
    );
    SessionId::from_uuid(uuid_of(digest))
}

/// The join flow of a person and a link: the same however often a ticket is made.
pub(crate) fn join_flow(secrets: &Secrets, account: AccountId, link: &str) -> FlowId {
    let link = Sha256::digest(link.trim().as_bytes());
    FlowId::from_uuid(uuid_of(mac(
        secrets,
        "membership.join",
        &[account.uuid().as_bytes(), &link],
    )))
}

/// The key of a service account, the same at a repeated call.
pub(crate) fn service_key(secrets: &Secrets, id: ServiceAccountId) -> String {
    format!(
        "psk_{}",
        URL_SAFE_NO_PAD.encode(mac(secrets, "membership.service-key", &[id.uuid().as_bytes()]))
    )
}

/// How a key is kept: 256 random bits need no slow hash.
pub(crate) fn key_digest(key: &str) -> Vec<u8> {
    Sha256::digest(key.as_bytes()).to_vec()
}
