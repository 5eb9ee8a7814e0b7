//! Access tokens of LiveKit, the media server.
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parta_access::Secrets;
use parta_status::RpcError;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::config::Config;

/// The rights of a person in the room of the media server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoomAccess {
    /// The organizer: may publish and receive media, and may mute and remove others.
    Host,
    /// May publish and receive media.
    Participant,
    /// In the room without the right to publish or receive media, until staff has arrived.
    Lobby,
}

/// The content of a token.
#[derive(Debug, Clone)]
pub(crate) struct TokenClaims {
    pub(crate) room: String,
    pub(crate) identity: String,
    /// Visible to the clients of the other participants: "teacher", "pupil", ...
    pub(crate) role: &'static str,
    pub(crate) access: RoomAccess,
    pub(crate) not_before: DateTime<Utc>,
    pub(crate) expire_time: DateTime<Utc>,
}

/// A LiveKit server and the key that it trusts.
#[derive(Clone)]
pub(crate) struct LiveKit {
    pub(crate) url: String,
    api_key: String,
    api_secret: SecretString,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VideoGrant<'a> {
    room: &'a str,
    room_join: bool,
    room_admin: bool,
    can_publish: bool,
    can_subscribe: bool,
    can_publish_data: bool,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    nbf: i64,
    exp: i64,
    metadata: String,
    video: VideoGrant<'a>,
}

impl LiveKit {
    /// The configured server. Without configuration it is a development server if only this machine reaches
    /// the process, and `None` otherwise.
    pub(crate) fn of(config: &Config, secrets: &Secrets, loopback_only: bool) -> Option<Self> {
        if let Some(secret) = config
            .livekit_api_secret
            .clone()
            .filter(|_| !config.livekit_url.is_empty())
        {
            let (url, api_key) = (config.livekit_url.clone(), config.livekit_api_key.clone());
            return Some(Self {
                url,
                api_key,
                api_secret: secret,
            });
        }
        let generated: String = secrets
            .derive("call-scheduling.livekit.development")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        loopback_only.then(|| Self {
            url: "ws://127.0.0.1:7880".to_owned(),
            api_key: "parta-development".to_owned(),
            api_secret: generated.into(),
        })
    }

    pub(crate) fn sign(&self, claims: &TokenClaims) -> Result<String, RpcError> {
        let may_use_media = claims.access != RoomAccess::Lobby;
        let jwt = Claims {
            iss: &self.api_key,
            sub: &claims.identity,
            nbf: claims.not_before.timestamp(),
            exp: claims.expire_time.timestamp(),
            metadata: serde_json::json!({ "role": claims.role }).to_string(),
            video: VideoGrant {
                room: &claims.room,
                room_join: true,
                room_admin: claims.access == RoomAccess::Host,
                can_publish: may_use_media,
                can_subscribe: may_use_media,
                can_publish_data: may_use_media,
            },
        };
        let key = EncodingKey::from_secret(self.api_secret.expose_secret().as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &jwt, &key).map_err(RpcError::internal)
    }
}
