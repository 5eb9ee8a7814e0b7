//! A fake of LiveKit's room service: Twirp, JSON over HTTP.
use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::fixture::{API_KEY, API_SECRET};

/// The state of the server.
#[derive(Default)]
struct Rooms {
    /// The rooms, and the identities of the people in them.
    present: BTreeSet<(String, String)>,
    /// The status of all responses; `None` for those of a server that works.
    failure: Option<u16>,
    /// The number of calls that were received.
    calls: usize,
}

/// A running server, which stops when it is dropped.
pub(crate) struct MediaServer {
    port: u16,
    rooms: Arc<Mutex<Rooms>>,
    _guard: DropGuard,
}

impl MediaServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let rooms = Arc::new(Mutex::new(Rooms::default()));
        let (shared, stopped) = (rooms.clone(), CancellationToken::new());
        let (tracker, guard) = (TaskTracker::new(), stopped.clone().drop_guard());
        let connections = tracker.clone();
        tracker.spawn(stopped.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let rooms = shared.clone();
                let serve = service_fn(move |request| answer(rooms.clone(), request));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                connections.spawn(stopped.clone().run_until_cancelled_owned(connection));
            }
        }));
        Self {
            port,
            rooms,
            _guard: guard,
        }
    }

    /// The address for clients.
    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A person enters with a token.
    pub(crate) fn enter(&self, token: &str) {
        let claims = verified(token).expect("a token of the service");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let person = (text(&claims["video"]["room"]), text(&claims["sub"]));
        self.rooms().present.insert(person);
    }

    /// Whether the person of a token is in the room.
    pub(crate) fn has(&self, token: &str) -> bool {
        let claims = verified(token).expect("a token of the service");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let person = (text(&claims["video"]["room"]), text(&claims["sub"]));
        self.rooms().present.contains(&person)
    }

    /// Lets all calls fail with a status, or none.
    pub(crate) fn fail(&self, status: Option<u16>) {
        self.rooms().failure = status;
    }

    /// The number of calls that were received.
    pub(crate) fn calls(&self) -> usize {
        self.rooms().calls
    }
}

/// Verifies a token as LiveKit does, with HS256 and the API secret. The clock of the tests differs from that
/// of the machine.
fn verified(token: &str) -> Option<Value> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[API_KEY]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss"]);
    validation.validate_exp = false;
    let key = DecodingKey::from_secret(API_SECRET.as_bytes());
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation).ok()?;
    Some(decoded.claims)
}

async fn answer(
    rooms: Arc<Mutex<Rooms>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let (status, answer) = removal(&rooms, &parts, &body);
    let mut response = Response::new(Full::from(Bytes::from(answer.to_string())));
    *response.status_mut() = status.try_into().unwrap();
    Ok(response)
}

fn removal(rooms: &Mutex<Rooms>, parts: &http::request::Parts, body: &[u8]) -> (u16, Value) {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    rooms.calls += 1;
    if let Some(status) = rooms.failure {
        return (status, json!({"code": "unavailable"}));
    }
    let is_call = parts.method == Method::POST
        && parts.uri.path() == "/twirp/livekit.RoomService/RemoveParticipant"
        && parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|is| is == "application/json");
    if !is_call {
        return (404, json!({"code": "bad_route"}));
    }
    let token = parts.headers.get(header::AUTHORIZATION);
    let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let grant = token.and_then(verified).map(|claims| claims["video"].clone());
    let is_admin = |grant: Value| grant["roomAdmin"] == true && grant["room"] == body["room"];
    if !grant.is_some_and(is_admin) {
        return (401, json!({"code": "unauthenticated"}));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let person = (text(&body["room"]), text(&body["identity"]));
    match rooms.present.remove(&person) {
        true => (200, json!({})),
        false => (
            404,
            json!({"code": "not_found", "msg": "participant does not exist"}),
        ),
    }
}
