use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Secrets;
use parta_database::LogHead;
use parta_status::{self as status, RpcError};
use subtle::ConstantTimeEq;
use uuid::Uuid;

const MAC_BYTES: usize = 8;
const LABEL: &str = "parta.feed-cursor";

/// The position at which a reader of a feed resumes. Its text form is opaque to clients and authenticated for
/// the server; a consumer of Parta may decode it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The incarnation of the database of the producer.
    pub incarnation: Uuid,
    /// The last processed position.
    pub position: i64,
}

impl Cursor {
    fn body(self) -> [u8; 24] {
        let mut body = [0; 24];
        body[..16].copy_from_slice(self.incarnation.as_bytes());
        body[16..].copy_from_slice(&self.position.to_be_bytes());
        body
    }

    /// Encodes the cursor as the text that a feed issues.
    pub fn encode(self, secrets: &Secrets) -> String {
        let body = self.body();
        let mut bytes = body.to_vec();
        bytes.extend_from_slice(&secrets.hmac(LABEL, &body)[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes a cursor that this feed issued.
    pub fn decode(text: &str, secrets: &Secrets) -> Result<Self, RpcError> {
        let refused = || status::invalid("cursor", "is not one that this feed answered");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let (body, mac) = bytes.split_last_chunk::<MAC_BYTES>().ok_or_else(refused)?;
        if !bool::from(secrets.hmac(LABEL, body)[..MAC_BYTES].ct_eq(mac)) {
            return Err(refused());
        }
        Self::peek(text).ok_or_else(refused)
    }

    /// Decodes a cursor without the key of the producer and does not verify it.
    pub fn peek(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let body: &[u8; 24 + MAC_BYTES] = bytes.as_slice().try_into().ok()?;
        let incarnation = Uuid::from_slice(&body[..16]).ok()?;
        let position = i64::from_be_bytes(body[16..24].try_into().ok()?);
        (position >= 0).then_some(Self {
            incarnation,
            position,
        })
    }
}

impl From<LogHead> for Cursor {
    fn from(head: LogHead) -> Self {
        Self {
            incarnation: head.incarnation,
            position: head.position,
        }
    }
}
