use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parta_access::Secrets;
use parta_database::{Db, LogHead, StorageError, Tx};
use parta_ids::{OrgId, TypedId};
use parta_status::{self as status, RpcError};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use uuid::Uuid;

const MAC: usize = 16;
const LABEL: &str = "parta.consistency-token";

/// A position in the event log of an organization at one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePosition {
    /// The name of the service, for example "membership".
    #[serde(rename = "s")]
    pub service: String,
    /// The epoch of its logs. Epochs have no order; see [`LogHead::epoch`].
    #[serde(rename = "e")]
    pub epoch: Uuid,
    /// The position that was reached.
    #[serde(rename = "p")]
    pub position: i64,
}

/// The states of one organization that a caller has seen: a position per service and epoch. Only the
/// positions of the present epochs count, and only the services know which these are. The text form is
/// authenticated, so that nobody can make a server wait for a state that never occurs. The services of a
/// suite share the master secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyToken {
    org_id: OrgId,
    positions: Vec<ServicePosition>,
}

/// The authenticated content of the text form.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(rename = "o")]
    org_id: Uuid,
    #[serde(rename = "m")]
    positions: Vec<ServicePosition>,
}

impl ConsistencyToken {
    /// Builds a token. Of two positions of one service and epoch, the later is kept.
    pub fn new(org_id: OrgId, positions: impl IntoIterator<Item = ServicePosition>) -> Self {
        let mut token = Self {
            org_id,
            positions: Vec::new(),
        };
        for position in positions {
            let same = |known: &&mut ServicePosition| {
                known.service == position.service && known.epoch == position.epoch
            };
            match token.positions.iter_mut().find(same) {
                Some(known) => known.position = known.position.max(position.position),
                None => token.positions.push(position),
            }
        }
        // The order of the ids gives equal tokens one form.
        token
            .positions
            .sort_by(|a, b| (&a.service, a.epoch).cmp(&(&b.service, b.epoch)));
        token
    }

    /// Returns the token that covers both tokens. They must belong to the same organization.
    pub fn merge(self, other: Self) -> Result<Self, RpcError> {
        if self.org_id != other.org_id {
            return Err(RpcError::internal(format!(
                "consistency tokens of {} and {} cannot be merged",
                self.org_id, other.org_id
            )));
        }
        Ok(Self::new(
            self.org_id,
            self.positions.into_iter().chain(other.positions),
        ))
    }

    /// Returns the organization to which the token belongs.
    pub fn org_id(&self) -> OrgId {
        self.org_id
    }

    /// Returns the positions, sorted by service name and epoch.
    pub fn positions(&self) -> &[ServicePosition] {
        &self.positions
    }

    /// Encodes the token as opaque text.
    pub fn encode(&self, secrets: &Secrets) -> String {
        let body = Body {
            org_id: self.org_id.uuid(),
            positions: self.positions.clone(),
        };
        let Ok(mut bytes) = serde_json::to_vec(&body) else {
            return String::new();
        };
        let mac = secrets.hmac(LABEL, &bytes);
        bytes.extend_from_slice(&mac[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes the text form. An empty text names no state.
    pub fn decode(text: &str, secrets: &Secrets) -> Result<Option<Self>, RpcError> {
        if text.is_empty() {
            return Ok(None);
        }
        let refused = || status::invalid("parta-at-least", "is not a consistency token of this suite");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
        let (body, given) = bytes.split_last_chunk::<MAC>().ok_or_else(refused)?;
        if !bool::from(secrets.hmac(LABEL, body)[..MAC].ct_eq(given)) {
            return Err(refused());
        }
        let body: Body = serde_json::from_slice(body).map_err(|_| refused())?;
        Ok(Some(Self::new(OrgId::from_uuid(body.org_id), body.positions)))
    }
}

/// Encodes a consistency token for this position of the log of an organization. A service that receives it
/// does not reply from an earlier state.
pub fn consistency_token(db: &Db, org_id: OrgId, head: LogHead) -> String {
    let position = ServicePosition {
        service: db.service().to_owned(),
        epoch: head.epoch,
        position: head.position,
    };
    ConsistencyToken::new(org_id, [position]).encode(db.secrets())
}

/// Runs the steps before the commit, which take the positions of the event log, and returns the consistency
/// token of the state after the commit; empty if the transaction acted for no organization. It locks the head
/// of the log, so call it after all other work.
pub async fn finish(tx: &Tx) -> Result<String, StorageError> {
    tx.run_steps().await?;
    match tx.log_org() {
        Some(org_id) => Ok(consistency_token(tx.db(), org_id, tx.head(org_id).await?)),
        None => Ok(String::new()),
    }
}
