//! Page tokens: the position of a caller in a list, authenticated together with the caller, the RPC and the
//! filter.
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use parta_access::{Caller, Secrets};
use parta_database::Db;
use parta_status::{self as status, RpcError};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const MAC: usize = 16;
const DEFAULT: u64 = 50;
const MAX: u64 = 200;

/// Returns the number of items of a page: 50 by default, at most 200.
pub(crate) fn page_size(requested: i32) -> Result<u64, RpcError> {
    match u64::try_from(requested) {
        Err(_) => Err(status::invalid("page_size", "must not be negative")),
        Ok(0) => Ok(DEFAULT),
        Ok(size) => Ok(size.min(MAX)),
    }
}

fn mac(key: &PageKey, caller: &Caller, filter: &str, keyset: &[u8]) -> [u8; MAC] {
    let mut out = [0; MAC];
    // HMAC takes keys of any length.
    if let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(&key.0) {
        let reader = caller.acting().key();
        for part in [
            caller.rpc.as_bytes(),
            reader.as_bytes(),
            filter.as_bytes(),
            keyset,
        ] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let whole = mac.finalize().into_bytes();
        out.copy_from_slice(&whole[..MAC]);
    }
    out
}

/// The key of the page tokens of one service.
pub(crate) struct PageKey([u8; 32]);

impl PageKey {
    pub(crate) fn new(db: &Db) -> Self {
        Self::derive(db.secrets(), db.service())
    }

    fn derive(secrets: &Secrets, service: &str) -> Self {
        Self(secrets.derive(&format!("{service}.page-token")))
    }
}

/// Encodes a page token, which is valid only for this caller, this RPC and this filter.
pub(crate) fn encode(key: &PageKey, caller: &Caller, filter: &str, keyset: &impl Serialize) -> String {
    let Ok(mut bytes) = serde_json::to_vec(keyset) else {
        // A keyset is a tuple of ids, times and texts, which always have a JSON form.
        tracing::error!("keyset serialization failed, page returned without a next page token");
        return String::new();
    };
    let mac = mac(key, caller, filter, &bytes);
    bytes.extend_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a page token; `None` for the first page.
pub(crate) fn decode<K: DeserializeOwned>(
    key: &PageKey,
    caller: &Caller,
    filter: &str,
    token: &str,
) -> Result<Option<K>, RpcError> {
    if token.is_empty() {
        return Ok(None);
    }
    let refused = || status::invalid("page_token", "is not one that this list returned to this caller");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
    let (keyset, given) = bytes.split_last_chunk::<MAC>().ok_or_else(refused)?;
    if !bool::from(mac(key, caller, filter, keyset).ct_eq(given)) {
        return Err(refused());
    }
    serde_json::from_slice(keyset).map(Some).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use parta_access::Principal;
    use parta_ids::{MemberId, OrgId, SessionId, TypedId};
    use uuid::Uuid;

    use super::*;

    fn person(n: u128, rpc: &'static str) -> Caller {
        let principal = Principal::Person {
            org_id: OrgId::from_uuid(Uuid::from_u128(1)),
            member_id: MemberId::from_uuid(Uuid::from_u128(n)),
            session_id: SessionId::from_uuid(Uuid::from_u128(n)),
        };
        Caller::new(principal, rpc)
    }

    /// A page token belongs to one caller, one list and one filter. Tokens of others and forged tokens are
    /// refused alike.
    #[test]
    fn page_token_is_valid_for_its_caller_only() {
        let key = PageKey::derive(&Secrets::new([7; 32]), "test");
        let list = "parta.test.v1.TestService/ListThings";
        let me = person(1, list);
        let token = encode(&key, &me, "kind=class", &("5А", 7));
        let read =
            |caller: &Caller, filter: &str, token: &str| decode::<(String, i64)>(&key, caller, filter, token);
        assert_eq!(
            read(&me, "kind=class", &token).unwrap(),
            Some(("5А".to_owned(), 7))
        );
        assert_eq!(read(&me, "kind=class", "").unwrap(), None);
        for (caller, filter) in [
            (person(2, list), "kind=class"),
            (person(1, "parta.test.v1.TestService/ListOthers"), "kind=class"),
            (person(1, list), "kind=group"),
        ] {
            let refused = read(&caller, filter, &token).unwrap_err();
            assert_eq!(refused.fields()[0].0, "page_token");
        }
        assert!(read(&me, "kind=class", "AAAA").is_err());
        let other = PageKey::derive(&Secrets::new([7; 32]), "other");
        assert!(decode::<(String, i64)>(&other, &me, "kind=class", &token).is_err());
    }

    #[test]
    fn page_sizes_are_bounded() {
        assert_eq!(
            [0, 1, 200, 201, i32::MAX].map(|n| page_size(n).unwrap()),
            [50, 1, 200, 200, 200]
        );
        assert_eq!(page_size(-1).unwrap_err().fields()[0].0, "page_size");
    }
}
