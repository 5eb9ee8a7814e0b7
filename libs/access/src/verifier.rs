use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use moka::sync::Cache;
use parta_ids::{Env, ServiceAccountKeyId, SessionId};
use parta_proto::status::v1::ErrorReason;
use parta_status::{RpcError, unavailable};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::{
    Caller, Jwks, Principal, RevocationWatch, Revoked, TooManyRevocations,
    revocations::Revocations,
    tokens::{Claims, JWKS_MAX_AGE, LEEWAY, MAX_TOKEN_LIFETIME, TYP},
};

/// Fetches the key set from membership, for a standalone service.
pub type Fetch = Arc<dyn Fn() -> BoxFuture<'static, Result<Jwks, RpcError>> + Send + Sync>;

/// The minimum interval between fetches of the key set, regardless of how many unknown keys tokens name.
const MIN_FETCH_INTERVAL: TimeDelta = TimeDelta::seconds(10);
/// The time for which the last key set is used while membership is unavailable.
const MAX_STALE_AGE: TimeDelta = TimeDelta::hours(24);

struct Keys {
    by_kid: HashMap<String, DecodingKey>,
    fetch_time: Option<DateTime<Utc>>,
    try_time: Option<DateTime<Utc>>,
    failures: u64,
}

/// The public keys that verify tokens: set by membership in the same process, or fetched.
#[derive(Clone)]
pub struct JwkSource {
    keys: Arc<RwLock<Keys>>,
    fetch: Option<Fetch>,
    fetch_lock: Arc<tokio::sync::Mutex<()>>,
}

impl JwkSource {
    /// Returns a source whose keys are set with [`JwkSource::set`] whenever they change.
    pub fn shared() -> Self {
        Self::build(None)
    }

    /// Returns a source that fetches at the first use, when a token names an unknown key, and every five
    /// minutes.
    pub fn fetched(fetch: Fetch) -> Self {
        Self::build(Some(fetch))
    }

    fn build(fetch: Option<Fetch>) -> Self {
        let keys = Keys {
            by_kid: HashMap::new(),
            fetch_time: None,
            try_time: None,
            failures: 0,
        };
        Self {
            keys: Arc::new(RwLock::new(keys)),
            fetch,
            fetch_lock: Arc::new(tokio::sync::Mutex::new(())),
        }
    }

    /// Replaces the key set.
    pub fn set(&self, jwks: &Jwks, now: DateTime<Utc>) {
        let by_kid = jwks
            .keys
            .iter()
            .filter(|k| k.kty == "OKP" && k.crv == "Ed25519")
            .filter_map(|k| Some((k.kid.clone(), DecodingKey::from_ed_components(&k.x).ok()?)))
            .collect();
        let mut keys = self.write();
        keys.by_kid = by_kid;
        keys.fetch_time = Some(now);
    }

    fn cached_key(&self, kid: &str, now: DateTime<Utc>, limit: TimeDelta) -> Option<DecodingKey> {
        let keys = self.read();
        if self.fetch.is_some() && keys.fetch_time.is_none_or(|t| now - t > limit) {
            return None;
        }
        keys.by_kid.get(kid).cloned()
    }

    async fn key(&self, kid: &str, now: DateTime<Utc>) -> Result<Option<DecodingKey>, RpcError> {
        if let Some(key) = self.cached_key(kid, now, JWKS_MAX_AGE) {
            return Ok(Some(key));
        }
        let Some(fetch) = &self.fetch else { return Ok(None) };
        let failures = self.read().failures;
        // Only one fetch runs at a time. A caller that waited here uses the result or the failure of that
        // fetch.
        let _fetch_guard = self.fetch_lock.lock().await;
        if let Some(key) = self.cached_key(kid, now, JWKS_MAX_AGE) {
            return Ok(Some(key));
        }
        let (is_due, has_failed) = {
            let keys = self.read();
            (
                keys.try_time.is_none_or(|t| now - t >= MIN_FETCH_INTERVAL),
                keys.failures != failures,
            )
        };
        if is_due && !has_failed {
            match fetch().await {
                Ok(jwks) => {
                    self.set(&jwks, now);
                    self.write().try_time = Some(now);
                }
                Err(error) => {
                    tracing::warn!(error.cause = %error, "keys could not be fetched from membership, using the last ones");
                    let mut keys = self.write();
                    keys.failures += 1;
                    // The minimum interval prevents tokens with unknown keys from overloading membership. It
                    // does not apply while there are no keys.
                    keys.try_time = keys.fetch_time.map(|_| now);
                }
            }
        }
        if let Some(key) = self.cached_key(kid, now, MAX_STALE_AGE) {
            return Ok(Some(key));
        }
        // Only a fresh key set proves that a key does not exist.
        if self.read().fetch_time.is_some_and(|t| now - t <= JWKS_MAX_AGE) {
            return Ok(None);
        }
        Err(unavailable("membership"))
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Verified {
    token: Arc<str>,
    principal: Principal,
    expire_time: DateTime<Utc>,
    reads_since: Option<DateTime<Utc>>,
}

/// Verifies bearer tokens and caches verified ones. One per process and service.
pub struct Verifier {
    source: JwkSource,
    issuer: String,
    env: Env,
    verified: Cache<[u8; 32], Verified>,
    revocations: Revocations,
}

impl Verifier {
    /// Returns a verifier of the tokens of `issuer` that knows only the revocations of its own process.
    pub fn new(source: JwkSource, issuer: impl Into<String>, env: Env) -> Self {
        Self {
            source,
            issuer: issuer.into(),
            env,
            verified: Cache::new(10_000),
            revocations: Revocations::new(false),
        }
    }

    /// Refuses tokens of people and service accounts unless membership has listed its revocations within the
    /// last 30 s ([`Verifier::record_revocations`]).
    #[must_use]
    pub fn polled(self) -> Self {
        Self {
            revocations: Revocations::new(true),
            ..self
        }
    }

    /// Verifies the token and returns the caller of the RPC with its identity and expiry.
    pub async fn caller(&self, token: &str, rpc: &'static str) -> Result<Caller, RpcError> {
        let verified = self.verified(token).await?;
        Ok(Caller {
            principal: verified.principal,
            on_behalf_of: None,
            token: Some(verified.token),
            expire_time: Some(verified.expire_time),
            reads_since: verified.reads_since,
            network: None,
            rpc,
        })
    }

    async fn verified(&self, token: &str) -> Result<Verified, RpcError> {
        let now = self.env.now();
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let verified = match self.verified.get(&digest) {
            Some(verified) => verified,
            None => {
                let verified = self.verify(token, now).await?;
                self.verified.insert(digest, verified.clone());
                verified
            }
        };
        if now >= verified.expire_time {
            self.verified.invalidate(&digest);
            return Err(RpcError::new(
                ErrorReason::CredentialExpired,
                "The token has expired. Refresh it and call again.",
            ));
        }
        self.revocations.known_soon(&verified.principal).await;
        self.require_current(&verified.principal)?;
        if self.is_revoked(&verified.principal) {
            return Err(RpcError::new(
                ErrorReason::CredentialRevoked,
                "The session or the key of the token was revoked. Sign in again, or use another key.",
            ));
        }
        Ok(verified)
    }

    /// Refuses every token of a session from now on, in this process. Other processes learn it from
    /// membership.
    pub fn revoke_session(&self, session: SessionId) {
        let sessions = vec![session];
        self.revoke(&Revoked {
            sessions,
            ..Revoked::default()
        });
    }

    /// Refuses every token that was issued for these keys of service accounts from now on, in this process.
    /// Other processes learn it from membership.
    pub fn revoke_service_account_keys(&self, keys: Vec<ServiceAccountKeyId>) {
        self.revoke(&Revoked {
            service_account_keys: keys,
            ..Revoked::default()
        });
    }

    fn revoke(&self, revoked: &Revoked) {
        self.revocations.add(revoked, self.env.now());
    }

    /// Records a response of membership that was requested at `requested_at`: all revocations, or `None` if
    /// they are those of the last response. The list is merged with what is known, because the replicas
    /// of membership read at different times; entries end when no token of theirs can live.
    pub fn record_revocations(
        &self,
        requested_at: Instant,
        list: Option<&Revoked>,
    ) -> Result<(), TooManyRevocations> {
        self.revocations.record(requested_at, list, self.env.now())
    }

    /// Returns whether membership has listed its revocations since the start.
    pub fn knows_revocations(&self) -> bool {
        self.revocations.is_known()
    }

    /// Waits until membership has listed its revocations since the start.
    pub fn revocations_known(&self) -> impl Future<Output = ()> + Send + use<> {
        self.revocations.known()
    }

    /// Returns whether the session or the key of this principal was revoked.
    pub fn is_revoked(&self, principal: &Principal) -> bool {
        self.revocations.contains(principal, self.env.now())
    }

    /// Refuses a principal that could have been revoked with PROJECTION_STALE if the last response of
    /// membership is older than 30 s. Services and the operator are not refused.
    pub fn require_current(&self, principal: &Principal) -> Result<(), RpcError> {
        self.revocations.require_current(principal)
    }

    /// Returns the watch of an open stream of this principal.
    pub fn watch(&self, principal: &Principal) -> RevocationWatch {
        self.revocations.watch(principal)
    }

    async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Verified, RpcError> {
        let invalid = |why: &str| RpcError::new(ErrorReason::CredentialInvalid, why);
        if token.len() > 8_192 {
            return Err(invalid("The token is too long."));
        }
        let header =
            jsonwebtoken::decode_header(token).map_err(|_| invalid("The credential is not a token."))?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TYP) {
            return Err(invalid("The token has another type."));
        }
        let kid = header.kid.ok_or_else(|| invalid("The token names no key."))?;
        let key = self
            .source
            .key(&kid, now)
            .await?
            .ok_or_else(|| invalid("The token names an unknown key."))?;
        let claims: Claims = jsonwebtoken::decode(token, &key, &validation())
            .map_err(|_| invalid("The signature of the token is wrong, or claims are missing."))?
            .claims;
        if claims.iss != self.issuer {
            return Err(invalid("The token has another issuer."));
        }
        let time = |seconds| {
            DateTime::from_timestamp(seconds, 0).ok_or_else(|| invalid("The token has an invalid time."))
        };
        let (start, expire_time) = (time(claims.nbf)?, time(claims.exp)?);
        if start > now + LEEWAY || expire_time - start > MAX_TOKEN_LIFETIME + LEEWAY {
            return Err(invalid("The token is not valid yet, or is valid for too long."));
        }
        let reads_since = claims
            .reads_since
            .map(|micros| {
                DateTime::from_timestamp_micros(micros)
                    .ok_or_else(|| invalid("The token has an invalid time."))
            })
            .transpose()?;
        let principal = claims
            .principal()
            .ok_or_else(|| invalid("The token is for another audience."))?;
        Ok(Verified {
            token: token.into(),
            principal,
            expire_time,
            reads_since,
        })
    }
}

/// Validates signature and algorithm only. Times are checked against the injected clock, and audiences
/// against the claims.
pub(crate) fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    validation
}
