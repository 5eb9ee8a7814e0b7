//! Page tokens: the position of a caller in a list, authenticated together with the caller, the RPC and the
//! filter.
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use parta_access::Caller;
use parta_status::{self as status, RpcError};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const MAC: usize = 16;
const DEFAULT: u64 = 50;
const MAX: u64 = 200;

/// Returns the number of items of a page: 50 by default, at most 200.
pub fn page_size(asked: i32) -> Result<u64, RpcError> {
    match u64::try_from(asked) {
        Err(_) => Err(status::invalid("page_size", "must not be negative")),
        Ok(0) => Ok(DEFAULT),
        Ok(size) => Ok(size.min(MAX)),
    }
}

fn mac(key: &[u8; 32], caller: &Caller, filter: &str, keyset: &[u8]) -> [u8; MAC] {
    let mut out = [0; MAC];
    // HMAC takes keys of any length.
    if let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) {
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

pub(crate) fn encode(key: &[u8; 32], caller: &Caller, filter: &str, keyset: &impl Serialize) -> String {
    let Ok(mut bytes) = serde_json::to_vec(keyset) else {
        // A keyset is a tuple of ids, times and texts, which always have a JSON form.
        tracing::error!("keyset serialization failed, page returned without a next page token");
        return String::new();
    };
    let mac = mac(key, caller, filter, &bytes);
    bytes.extend_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode<K: DeserializeOwned>(
    key: &[u8; 32],
    caller: &Caller,
    filter: &str,
    token: &str,
) -> Result<Option<K>, RpcError> {
    if token.is_empty() {
        return Ok(None);
    }
    let refused = || status::invalid("page_token", "is not one that this list answered to this caller");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
    let (keyset, given) = bytes.split_last_chunk::<MAC>().ok_or_else(refused)?;
    if !bool::from(mac(key, caller, filter, keyset).ct_eq(given)) {
        return Err(refused());
    }
    serde_json::from_slice(keyset).map(Some).map_err(|_| refused())
}
