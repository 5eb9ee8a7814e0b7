use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Secrets;
use parta_database::{Db, LogHead, StorageError, Tx};
use parta_status::{self as status, RpcError};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use uuid::Uuid;

const MAC: usize = 16;
const LABEL: &str = "parta.consistency-token";

/// A position in the event log of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePosition {
    /// The name of the service, for example "membership".
    #[serde(rename = "s")]
    pub service: String,
    /// The incarnation of its database.
    #[serde(rename = "i")]
    pub incarnation: Uuid,
    /// The position that was reached.
    #[serde(rename = "p")]
    pub position: i64,
}

/// The states that a caller has seen: at most one position per service. The text form is authenticated, so
/// that nobody can make a server wait for a state that never occurs. The services of a suite share the master
/// secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsistencyToken {
    marks: Vec<ServicePosition>,
}

impl ConsistencyToken {
    /// Builds a token. Of two positions of one service, the later is kept.
    pub fn new(marks: impl IntoIterator<Item = ServicePosition>) -> Self {
        let mut token = Self::default();
        for mark in marks {
            match token.marks.iter_mut().find(|m| m.service == mark.service) {
                Some(known) if (known.incarnation, known.position) < (mark.incarnation, mark.position) => {
                    *known = mark;
                }
                Some(_) => {}
                None => token.marks.push(mark),
            }
        }
        token.marks.sort_by(|a, b| a.service.cmp(&b.service));
        token
    }

    /// Returns the token that covers both tokens.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self::new(self.marks.into_iter().chain(other.marks))
    }

    /// Returns the positions, sorted by service name.
    pub fn marks(&self) -> &[ServicePosition] {
        &self.marks
    }

    /// Encodes the token as opaque text.
    pub fn encode(&self, secrets: &Secrets) -> String {
        let Ok(mut bytes) = serde_json::to_vec(&self.marks) else {
            return String::new();
        };
        let mac = secrets.hmac(LABEL, &bytes);
        bytes.extend_from_slice(&mac[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes the text form. An empty text is an empty token.
    pub fn decode(text: &str, secrets: &Secrets) -> Result<Self, RpcError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let refused = || status::invalid("parta-at-least", "is not a consistency token of this suite");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let (body, given) = bytes.split_last_chunk::<MAC>().ok_or_else(refused)?;
        if !bool::from(secrets.hmac(LABEL, body)[..MAC].ct_eq(given)) {
            return Err(refused());
        }
        let marks: Vec<ServicePosition> = serde_json::from_slice(body).map_err(|_| refused())?;
        Ok(Self::new(marks))
    }
}

/// Encodes a consistency token for this position of the event log of the database. A service that receives it
/// does not reply from an earlier state.
pub fn consistency_token(db: &Db, head: LogHead) -> String {
    let mark = ServicePosition {
        service: db.service().to_owned(),
        incarnation: head.incarnation,
        position: head.position,
    };
    ConsistencyToken::new([mark]).encode(db.secrets())
}

/// Runs the steps before the commit, which take the positions of the event log, and returns the consistency
/// token of the state after the commit. It locks the head of the log, so call it after all other work.
pub async fn finish(tx: &Tx) -> Result<String, StorageError> {
    tx.run_steps().await?;
    Ok(consistency_token(tx.db(), tx.head().await?))
}
