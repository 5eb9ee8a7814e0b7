use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Header};
use parta_ids::{
    AccountId, Env, FlowId, MemberId, OrgId, ServiceAccountId, ServiceAccountKeyId, SessionId, Uuid,
};
use serde::{Deserialize, Serialize};

use crate::{KeyError, KeyPair, LinkDigest, Principal, ServiceAccountPermission};

/// The `typ` of every token of people and service accounts (RFC 9068).
pub(crate) const TYP: &str = "at+jwt";
pub(crate) const MAX_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// The permitted clock skew.
pub(crate) const LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// The time for which a verifier may use a key set without fetching it again.
pub(crate) const JWKS_MAX_AGE: TimeDelta = TimeDelta::minutes(5);
/// The time for which a key is published before it signs: twice that for which a verifier may use a set
/// without it.
const PUBLISH_LEAD: TimeDelta = TimeDelta::minutes(10);
/// The time for which a key stays published after it last signed.
const PUBLISH_AFTER_LAST_USE: TimeDelta = TimeDelta::minutes(11);

/// The audience of tokens that all services accept.
pub(crate) const AUD_PARTA: &str = "parta";
pub(crate) const AUD_MEMBERSHIP: &str = "parta.membership";
pub(crate) const AUD_INVITATION: &str = "parta.invitation";

/// The claims of a token. `sub` is the member, account, flow or service account, depending on audience and
/// kind.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) org: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<String>,
    /// The key of the service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The digest of the link of a join ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) permissions: Vec<String>,
    /// The time since which the person may read personal and named chats, in microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reads_since: Option<i64>,
    pub(crate) iat: i64,
    pub(crate) nbf: i64,
    pub(crate) exp: i64,
    pub(crate) jti: Uuid,
}

impl Claims {
    /// Returns the principal; `None` if the claims are inconsistent.
    pub(crate) fn principal(&self) -> Option<Principal> {
        match self.aud.as_str() {
            AUD_MEMBERSHIP => Some(Principal::Account {
                account_id: self.sub.parse().ok()?,
                session_id: self.sid.as_deref()?.parse().ok()?,
            }),
            AUD_INVITATION => Some(Principal::Joiner {
                flow_id: self.sub.parse().ok()?,
                link: self.link.as_deref()?.parse().ok()?,
                session_id: self.sid.as_deref()?.parse().ok()?,
            }),
            AUD_PARTA => {
                let org_id = self.org.as_deref()?.parse().ok()?;
                match &self.sid {
                    Some(sid) => Some(Principal::Person {
                        org_id,
                        member_id: self.sub.parse().ok()?,
                        session_id: sid.parse().ok()?,
                    }),
                    None => Some(Principal::ServiceAccount {
                        org_id,
                        id: self.sub.parse().ok()?,
                        key_id: self.key.as_deref()?.parse().ok()?,
                        // A name that another build knows gives nothing here.
                        permissions: self
                            .permissions
                            .iter()
                            .filter_map(|name| name.parse().ok())
                            .collect(),
                    }),
                }
            }
            _ => None,
        }
    }
}

/// A public key set (RFC 7517) as published by membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Jwks {
    pub(crate) keys: Vec<Jwk>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Jwk {
    pub(crate) kty: String,
    pub(crate) crv: String,
    pub(crate) alg: String,
    #[serde(rename = "use")]
    pub(crate) usage: String,
    pub(crate) kid: String,
    pub(crate) x: String,
}

impl Jwks {
    /// Parses the JSON form.
    pub fn from_json(text: &str) -> Result<Self, KeyError> {
        serde_json::from_str(text).map_err(|_| KeyError::Public)
    }

    /// Returns the JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A key of the issuer with its times. A key is published before it signs, and kept until the tokens that it
/// signed have expired. The issuer enforces both regardless of the times, and [`SigningKey::successor`]
/// chooses suitable times.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// The id of the key in tokens.
    pub kid: String,
    /// The key pair.
    pub pair: KeyPair,
    /// When the key enters the key set.
    pub publish_time: DateTime<Utc>,
    /// When the key starts to sign.
    pub sign_from: DateTime<Utc>,
    /// When the key leaves the key set.
    pub retire_time: Option<DateTime<Utc>>,
}

impl SigningKey {
    /// Returns the first key of the issuer, which signs immediately, because no verifier has an older key
    /// set. Its id is its public key.
    pub fn first(pair: KeyPair, now: DateTime<Utc>) -> Self {
        Self {
            kid: pair.public().to_owned(),
            pair,
            publish_time: now,
            sign_from: now,
            retire_time: None,
        }
    }

    /// Returns the key that follows this one. It is published now and signs as soon as every verifier must
    /// have it. This key retires when the last token that it may have signed has expired.
    pub fn successor(&mut self, pair: KeyPair, now: DateTime<Utc>) -> Self {
        let sign_from = now + PUBLISH_LEAD;
        self.retire_time = Some(sign_from + PUBLISH_AFTER_LAST_USE);
        Self {
            kid: pair.public().to_owned(),
            pair,
            publish_time: now,
            sign_from,
            retire_time: None,
        }
    }

    /// Returns whether every verifier must have the key by now.
    fn is_known_to_all_verifiers(&self, now: DateTime<Utc>) -> bool {
        self.publish_time + PUBLISH_LEAD <= now
    }
}

/// A signed token and its expiry.
#[derive(Debug, Clone)]
pub struct SignedToken {
    /// The value after `Bearer`.
    pub text: String,
    /// When the token expires.
    pub expire_time: DateTime<Utc>,
}

/// The claims of a token that depend on its kind.
struct Subject {
    aud: &'static str,
    id: String,
    org: Option<OrgId>,
    session: Option<SessionId>,
    key: Option<ServiceAccountKeyId>,
    link: Option<LinkDigest>,
    permissions: Vec<String>,
    reads_since: Option<DateTime<Utc>>,
}

impl Subject {
    fn new(aud: &'static str, id: &impl ToString) -> Self {
        Self {
            aud,
            id: id.to_string(),
            org: None,
            session: None,
            key: None,
            link: None,
            permissions: Vec::new(),
            reads_since: None,
        }
    }
}

/// Signs tokens. Only membership has an issuer.
#[derive(Clone)]
pub struct TokenIssuer {
    keys: Arc<Vec<SigningKey>>,
    issuer: String,
    lifetime: TimeDelta,
    env: Env,
}

impl TokenIssuer {
    /// Returns an issuer with these keys. It signs with the newest key that has reached its time and was
    /// published for long enough. If there is none, as at the first start, it signs with the oldest key.
    /// `issuer` is `iss`. Tokens live for `lifetime`, at most 10 minutes.
    pub fn new(keys: Vec<SigningKey>, issuer: impl Into<String>, lifetime: TimeDelta, env: Env) -> Self {
        Self {
            keys: Arc::new(keys),
            issuer: issuer.into(),
            lifetime: lifetime.min(MAX_TOKEN_LIFETIME),
            env,
        }
    }

    /// Issues a token of a signed-in account, which only membership accepts.
    pub fn account(&self, account: AccountId, session: SessionId) -> Result<SignedToken, KeyError> {
        self.sign(Subject {
            session: Some(session),
            ..Subject::new(AUD_MEMBERSHIP, &account)
        })
    }

    /// Issues a token of a member of one organization. `session` is the session id in its pairwise form for
    /// that organization.
    pub fn person(&self, org: OrgId, member: MemberId, session: SessionId) -> Result<SignedToken, KeyError> {
        self.person_since(org, member, session, None)
    }

    /// Like [`Self::person`], for a session that reads nothing in personal and named chats that is older than
    /// `reads_since` (F11).
    pub fn person_since(
        &self,
        org: OrgId,
        member: MemberId,
        session: SessionId,
        reads_since: Option<DateTime<Utc>>,
    ) -> Result<SignedToken, KeyError> {
        self.sign(Subject {
            org: Some(org),
            session: Some(session),
            reads_since,
            ..Subject::new(AUD_PARTA, &member)
        })
    }

    /// Issues a join ticket for one link, which only invitation accepts. `session` is the session id in its
    /// form for join tickets.
    pub fn joiner(
        &self,
        flow: FlowId,
        link: LinkDigest,
        session: SessionId,
    ) -> Result<SignedToken, KeyError> {
        self.sign(Subject {
            link: Some(link),
            session: Some(session),
            ..Subject::new(AUD_INVITATION, &flow)
        })
    }

    /// Issues a token of a service account for one of its keys.
    pub fn service_account(
        &self,
        org: OrgId,
        id: ServiceAccountId,
        key: ServiceAccountKeyId,
        permissions: impl IntoIterator<Item = ServiceAccountPermission>,
    ) -> Result<SignedToken, KeyError> {
        let names = permissions.into_iter().map(|of| of.name().to_owned());
        self.sign(Subject {
            org: Some(org),
            key: Some(key),
            permissions: names.collect(),
            ..Subject::new(AUD_PARTA, &id)
        })
    }

    /// Returns the key set to publish now.
    pub fn jwks(&self) -> Jwks {
        let now = self.env.now();
        // The signing key and the key that it replaced stay published, even if their retire time is too
        // early.
        let current = self.signing(now).map(|key| key.kid.as_str());
        let former = self
            .signing(now - PUBLISH_AFTER_LAST_USE)
            .map(|key| key.kid.as_str());
        Jwks {
            keys: self
                .keys
                .iter()
                .filter(|k| {
                    let is_in_use = Some(k.kid.as_str()) == current || Some(k.kid.as_str()) == former;
                    k.publish_time <= now && (is_in_use || k.retire_time.is_none_or(|t| now < t))
                })
                .map(|key| Jwk {
                    kty: "OKP".to_owned(),
                    crv: "Ed25519".to_owned(),
                    alg: "EdDSA".to_owned(),
                    usage: "sig".to_owned(),
                    kid: key.kid.clone(),
                    x: key.pair.public().to_owned(),
                })
                .collect(),
        }
    }

    fn signing(&self, now: DateTime<Utc>) -> Option<&SigningKey> {
        let usable = || {
            self.keys
                .iter()
                .filter(|k| k.sign_from <= now && k.retire_time.is_none_or(|t| now < t))
        };
        usable()
            .filter(|k| k.is_known_to_all_verifiers(now))
            .max_by_key(|k| k.sign_from)
            .or_else(|| usable().min_by_key(|k| k.publish_time))
    }

    fn sign(&self, subject: Subject) -> Result<SignedToken, KeyError> {
        let now = self.env.now();
        let key = self.signing(now).ok_or(KeyError::Sign)?;
        // The claim has whole seconds, and the response must equal the claim.
        let expire_time = (now + self.lifetime).trunc_subsecs(0);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: subject.aud.to_owned(),
            sub: subject.id,
            org: subject.org.map(|org| org.to_string()),
            sid: subject.session.map(|session| session.to_string()),
            key: subject.key.map(|key| key.to_string()),
            link: subject.link.map(|link| link.to_string()),
            permissions: subject.permissions,
            reads_since: subject.reads_since.map(|time| time.timestamp_micros()),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: expire_time.timestamp(),
            jti: self.env.ids.uuid(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(key.kid.clone());
        let text =
            jsonwebtoken::encode(&header, &claims, &key.pair.encoding_key()?).map_err(|_| KeyError::Sign)?;
        Ok(SignedToken { text, expire_time })
    }
}
