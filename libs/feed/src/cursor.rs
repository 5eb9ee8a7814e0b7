use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Secrets;
use parta_database::LogHead;
use parta_ids::{OrgId, TypedId};
use parta_status::{self as status, RpcError};
use subtle::ConstantTimeEq;
use uuid::Uuid;

const BODY_BYTES: usize = 56;
const MAC_BYTES: usize = 8;
const LABEL: &str = "parta.feed-cursor";

/// The position at which a reader of the log of an organization resumes. Its text form is opaque to clients
/// and authenticated for the server; a consumer of Parta may decode it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The organization.
    pub org_id: OrgId,
    /// The epoch of the logs of the producer. Epochs have no order; see [`LogHead::epoch`].
    pub epoch: Uuid,
    /// The position of the last processed event; zero at the beginning of the log.
    pub position: i64,
    /// The id of the last processed event; nil at the beginning of the log. A log that was restored from a
    /// backup may use the position again, but never the id.
    pub event_id: Uuid,
}

impl Cursor {
    /// Returns the cursor at the end of a log.
    pub fn at(org_id: OrgId, head: LogHead) -> Self {
        Self {
            org_id,
            epoch: head.epoch,
            position: head.position,
            event_id: head.event_id,
        }
    }

    /// Returns whether everything up to a position of an epoch is processed. A position of another epoch says
    /// nothing about it.
    pub(crate) fn covers(self, epoch: Uuid, position: i64) -> bool {
        self.epoch == epoch && self.position >= position
    }

    fn body(self) -> [u8; BODY_BYTES] {
        let mut body = [0; BODY_BYTES];
        body[..16].copy_from_slice(self.org_id.uuid().as_bytes());
        body[16..32].copy_from_slice(self.epoch.as_bytes());
        body[32..40].copy_from_slice(&self.position.to_be_bytes());
        body[40..].copy_from_slice(self.event_id.as_bytes());
        body
    }

    /// Encodes the cursor as the text that a feed issues.
    pub fn encode(self, secrets: &Secrets) -> String {
        let body = self.body();
        let mut bytes = body.to_vec();
        bytes.extend_from_slice(&secrets.hmac(LABEL, &body)[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes a cursor that this feed issued for the organization.
    pub fn decode(text: &str, org_id: OrgId, secrets: &Secrets) -> Result<Self, RpcError> {
        let refused = || {
            status::invalid(
                "cursor",
                "is not one that this feed returned for the organization",
            )
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let (body, mac) = bytes.split_last_chunk::<MAC_BYTES>().ok_or_else(refused)?;
        if !bool::from(secrets.hmac(LABEL, body)[..MAC_BYTES].ct_eq(mac)) {
            return Err(refused());
        }
        Self::peek(text)
            .filter(|cursor| cursor.org_id == org_id)
            .ok_or_else(refused)
    }

    /// Decodes a cursor without the key of the producer and does not verify it.
    pub fn peek(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let body: &[u8; BODY_BYTES + MAC_BYTES] = bytes.as_slice().try_into().ok()?;
        let id = |at: usize| Uuid::from_slice(&body[at..at + 16]).ok();
        let position = i64::from_be_bytes(body[32..40].try_into().ok()?);
        (position >= 0).then_some(Self {
            org_id: OrgId::from_uuid(id(0)?),
            epoch: id(16)?,
            position,
            event_id: id(40)?,
        })
    }
}
