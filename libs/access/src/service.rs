use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use parta_ids::{Env, Uuid};
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use serde::{Deserialize, Serialize};

use crate::{KeyError, KeyPair, tokens::LEEWAY, verifier::validation};

const TYP: &str = "parta-service+jwt";
const TOKEN_LIFETIME: TimeDelta = TimeDelta::seconds(60);

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    nbf: i64,
    exp: i64,
    jti: Uuid,
}

/// The key with which a service authenticates to the others: a self-signed token for one callee, valid for
/// one minute.
pub struct ServiceIdentity {
    name: String,
    key: EncodingKey,
    public: String,
    env: Env,
    cached_tokens: Mutex<HashMap<String, CachedToken>>,
}

/// A token that is used until half of its lifetime has passed.
struct CachedToken {
    text: String,
    mint_time: DateTime<Utc>,
}

impl CachedToken {
    /// Whether the token can be used now. One that was minted later than now, before the clock was set back,
    /// is not valid yet for the other services.
    fn is_usable(&self, now: DateTime<Utc>) -> bool {
        self.mint_time <= now && now < self.mint_time + TOKEN_LIFETIME / 2
    }
}

impl ServiceIdentity {
    /// Returns the identity of the service with this kebab-case name.
    pub fn new(name: impl Into<String>, pair: &KeyPair, env: Env) -> Result<Self, KeyError> {
        Ok(Self {
            name: name.into(),
            key: pair.encoding_key()?,
            public: pair.public().to_owned(),
            env,
            cached_tokens: Mutex::new(HashMap::new()),
        })
    }

    /// Returns the kebab-case name of the service.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the public key, which the other services have in their configuration.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Returns a token for the callee with this kebab-case name. A token is reused for half of its lifetime.
    pub fn mint(&self, audience: &str) -> Result<String, RpcError> {
        let now = self.env.now();
        let mut cached_tokens = self.cached_tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = cached_tokens.get(audience).filter(|token| token.is_usable(now)) {
            return Ok(token.text.clone());
        }
        let claims = Claims {
            iss: self.name.clone(),
            aud: audience.to_owned(),
            nbf: now.timestamp(),
            exp: (now + TOKEN_LIFETIME).timestamp(),
            jti: self.env.ids.uuid(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.to_owned());
        let text = jsonwebtoken::encode(&header, &claims, &self.key).map_err(RpcError::internal)?;
        let cached = CachedToken {
            text: text.clone(),
            mint_time: now,
        };
        cached_tokens.insert(audience.to_owned(), cached);
        Ok(text)
    }
}

/// The public keys of the services that may call.
pub struct ServiceKeys {
    keys: HashMap<String, DecodingKey>,
    env: Env,
}

impl ServiceKeys {
    /// Parses keys by kebab-case name, each as JWK `x`.
    pub fn new<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str)>, env: Env) -> Result<Self, KeyError> {
        let keys = keys
            .into_iter()
            .map(|(name, x)| {
                // `from_ed_components` only decodes; a key of another length would fail at the first call
                // instead of here.
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
                    .decode(x)
                    .map_err(|_| KeyError::Public)?;
                if bytes.len() != 32 {
                    return Err(KeyError::Public);
                }
                let key = DecodingKey::from_ed_components(x).map_err(|_| KeyError::Public)?;
                Ok((name.to_owned(), key))
            })
            .collect::<Result<_, KeyError>>()?;
        Ok(Self { keys, env })
    }

    /// Verifies the token and returns the service that it identifies. The token must be issued for
    /// `audience`.
    pub fn verify(&self, token: &str, audience: &str) -> Result<String, RpcError> {
        let invalid = || {
            RpcError::new(
                ErrorReason::CredentialInvalid,
                "The service token is not valid for this service.",
            )
        };
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid())?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TYP) {
            return Err(invalid());
        }
        // The issuer is needed to select the key. Nothing else is trusted before the signature is verified.
        let issuer = jsonwebtoken::dangerous::insecure_decode::<Claims>(token)
            .map_err(|_| invalid())?
            .claims
            .iss;
        let key = self.keys.get(&issuer).ok_or_else(invalid)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation())
            .map_err(|_| invalid())?
            .claims;
        let now = self.env.now();
        let time = |seconds| DateTime::from_timestamp(seconds, 0).ok_or_else(invalid);
        let (start, end) = (time(claims.nbf)?, time(claims.exp)?);
        if claims.aud != audience || start > now + LEEWAY || end - start > TOKEN_LIFETIME + LEEWAY {
            return Err(invalid());
        }
        if now >= end + LEEWAY {
            return Err(RpcError::new(
                ErrorReason::CredentialExpired,
                "The service token has expired. Use a new one.",
            ));
        }
        Ok(claims.iss)
    }
}
