//! LiveKit, the media server: access tokens, and the calls of its room service (Twirp, JSON over HTTP).
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{Request, header};
use http_body_util::Full;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parta_access::Secrets;
use parta_http_client::{HttpClient, HttpError};
use parta_ids::{MemberId, OrgId, TypedId as _};
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
    /// Whether it is the development server of this machine, which nobody has to start.
    is_development: bool,
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

/// The claims with which this service acts on a room.
#[derive(Serialize)]
struct AdminClaims<'a> {
    iss: &'a str,
    nbf: i64,
    exp: i64,
    video: AdminGrant<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdminGrant<'a> {
    room: &'a str,
    room_admin: bool,
}

/// The failure of a call of the media server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MediaError {
    #[error("the media server: {0}")]
    Http(#[from] HttpError),
    #[error("the media server returned {0}")]
    Status(u16),
    #[error("a call of the media server cannot be made: {0}")]
    Request(String),
}

/// The time before and after now in which the token of a call of this service is valid.
const CALL_LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// The code of a Twirp error that means that nobody was there.
const NOT_FOUND: &str = "not_found";

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
                is_development: false,
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
            is_development: true,
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
        self.encode(&jwt).map_err(RpcError::internal)
    }

    fn encode(&self, claims: &impl Serialize) -> Result<String, jsonwebtoken::errors::Error> {
        let key = EncodingKey::from_secret(self.api_secret.expose_secret().as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
    }

    /// Removes a person from a room at once. The tokens of the person stay valid. Returns whether the person
    /// was there.
    pub(crate) async fn remove(
        &self,
        client: &HttpClient,
        (room, identity): (&str, &str),
        now: DateTime<Utc>,
    ) -> Result<bool, MediaError> {
        let claims = AdminClaims {
            iss: &self.api_key,
            nbf: (now - CALL_LEEWAY).timestamp(),
            exp: (now + CALL_LEEWAY).timestamp(),
            video: AdminGrant {
                room,
                room_admin: true,
            },
        };
        let fault = |error: &dyn std::error::Error| MediaError::Request(error.to_string());
        let token = self.encode(&claims).map_err(|error| fault(&error))?;
        // The API has the address of the web socket.
        let base = self.url.trim_end_matches('/').replacen("ws", "http", 1);
        let body = serde_json::json!({ "room": room, "identity": identity }).to_string();
        let request = Request::post(format!("{base}/twirp/livekit.RoomService/RemoveParticipant"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::from(Bytes::from(body)))
            .map_err(|error| fault(&error))?;
        let (status, body) = match client.send(request).await {
            Err(HttpError::Unreachable) if self.is_development => return Ok(false),
            response => response?,
        };
        let answer = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        match status {
            200 => Ok(true),
            // A proxy that does not know the path returns 404 too, with another body.
            404 if answer["code"] == NOT_FOUND => Ok(false),
            other => Err(MediaError::Status(other)),
        }
    }
}

/// The name of a member on the media server: a different one in each organization, and not the member's id
/// (R28).
pub(crate) fn media_identity(secrets: &Secrets, org: OrgId, member: MemberId) -> String {
    let mut bytes = org.uuid().as_bytes().to_vec();
    bytes.extend_from_slice(member.uuid().as_bytes());
    URL_SAFE_NO_PAD.encode(&secrets.hmac("call-scheduling.media-identity", &bytes)[..16])
}
