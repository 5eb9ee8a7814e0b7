//! LiveKit, the media server: access tokens, and the calls of its room service (Twirp, JSON over HTTP).
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{Request, header};
use http_body_util::Full;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parta_access::Secrets;
use parta_http_client::{HttpClient, HttpError};
use parta_ids::{MemberId, OrgId, SessionId, TypedId as _};
use parta_status::RpcError;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::model::{Present, Standing};
use crate::config::Config;

/// The rights of a person in the room of the media server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoomAccess {
    /// The organizer: may publish and receive media, and may mute and remove others.
    Host,
    /// May publish and receive media.
    Participant,
    /// In the room without the right to publish or receive media, while no staff is there.
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
    #[error("a call of the media server cannot be made or read: {0}")]
    Message(String),
}

impl MediaError {
    /// Whether the call can succeed later without a change of the configuration.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Http(_) => true,
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::Message(_) => false,
        }
    }
}

/// The people in a room, in the JSON of Twirp, whose names follow the proto.
#[derive(Deserialize)]
struct Participants {
    #[serde(default)]
    participants: Vec<Participant>,
}

#[derive(Deserialize)]
struct Participant {
    identity: String,
    #[serde(default)]
    state: String,
    /// Missing if the server does not list it. The person is then taken for one who may use media.
    permission: Option<Permission>,
}

#[derive(Deserialize)]
struct Permission {
    #[serde(default, alias = "canSubscribe")]
    can_subscribe: bool,
    #[serde(default, alias = "canPublish")]
    can_publish: bool,
}

/// The state of a person whose connection has ended.
const DISCONNECTED: &str = "DISCONNECTED";

/// The time before and after now in which the token of a call of this service is valid.
const CALL_LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// The code of a Twirp error that means that the room or the person is not there.
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

    /// Lists the people in a room.
    pub(crate) async fn list(
        &self,
        client: &HttpClient,
        room: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Present>, MediaError> {
        let body = serde_json::json!({ "room": room });
        let Some(answer) = self.call(client, "ListParticipants", room, &body, now).await? else {
            return Ok(Vec::new());
        };
        let listed: Participants =
            serde_json::from_slice(&answer).map_err(|error| MediaError::Message(error.to_string()))?;
        let listed = listed.participants.into_iter();
        let present = listed.filter(|person| person.state != DISCONNECTED);
        let present = present.map(|person| Present {
            identity: person.identity,
            uses_media: person
                .permission
                .is_none_or(|may| may.can_subscribe || may.can_publish),
        });
        Ok(present.collect())
    }

    /// Removes a person from a room at once. The tokens of the person stay valid. Returns whether the person
    /// was there.
    pub(crate) async fn remove(
        &self,
        client: &HttpClient,
        (room, identity): (&str, &str),
        now: DateTime<Utc>,
    ) -> Result<bool, MediaError> {
        let body = serde_json::json!({ "room": room, "identity": identity });
        let answer = self.call(client, "RemoveParticipant", room, &body, now).await?;
        Ok(answer.is_some())
    }

    /// Calls a method of the room service about a room. Returns the body of the response; `None` if the room
    /// or the person does not exist, or nobody has started the development server.
    async fn call(
        &self,
        client: &HttpClient,
        method: &str,
        room: &str,
        body: &serde_json::Value,
        now: DateTime<Utc>,
    ) -> Result<Option<Bytes>, MediaError> {
        let claims = AdminClaims {
            iss: &self.api_key,
            nbf: (now - CALL_LEEWAY).timestamp(),
            exp: (now + CALL_LEEWAY).timestamp(),
            video: AdminGrant {
                room,
                room_admin: true,
            },
        };
        let token = self
            .encode(&claims)
            .map_err(|error| MediaError::Message(error.to_string()))?;
        // The API has the address of the web socket.
        let base = self.url.trim_end_matches('/').replacen("ws", "http", 1);
        let request = Request::post(format!("{base}/twirp/livekit.RoomService/{method}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::from(Bytes::from(body.to_string())))
            .map_err(|error| MediaError::Message(error.to_string()))?;
        let (status, body) = match client.send(request).await {
            Err(HttpError::Unreachable) if self.is_development => return Ok(None),
            response => response?,
        };
        match status {
            200 => Ok(Some(body)),
            404 => {
                // A proxy that does not know the path returns 404 too, with another body.
                let answer = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
                match answer["code"] == NOT_FOUND {
                    true => Ok(None),
                    false => Err(MediaError::Status(404)),
                }
            }
            other => Err(MediaError::Status(other)),
        }
    }
}

/// The name on the media server of a member in one session and with one standing: a different one in each
/// organization, and not the member's id (R28).
pub(crate) fn media_identity(
    secrets: &Secrets,
    org: OrgId,
    (member, session): (MemberId, SessionId),
    standing: Standing,
) -> String {
    let mut bytes = org.uuid().as_bytes().to_vec();
    bytes.extend_from_slice(member.uuid().as_bytes());
    bytes.extend_from_slice(session.uuid().as_bytes());
    bytes.push(u8::from(standing.host));
    bytes.extend_from_slice(&standing.label.number().to_be_bytes());
    URL_SAFE_NO_PAD.encode(&secrets.hmac("call-scheduling.media-identity", &bytes)[..16])
}
