//! A fake of LiveKit's room service for tests: Twirp, JSON over HTTP.
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::sms_gateway::{SmsRequest as HttpRequest, read};

/// The state of the server.
#[derive(Default)]
struct Rooms {
    /// The people in the rooms, by room and identity, with the grants of their tokens.
    present: BTreeMap<(String, String), Value>,
    /// The status of all responses; `None` for those of a server that works.
    failure: Option<u16>,
    /// The number of lists that were requested.
    looks: usize,
    /// The number of removals that were requested.
    removals: usize,
}

/// A running server, which stops when it is dropped. It accepts tokens whatever their times are, because the
/// clock of a test differs from that of the machine, and because LiveKit renews the tokens of its clients.
pub struct MediaServer {
    address: SocketAddr,
    rooms: Arc<watch::Sender<Rooms>>,
    _guard: DropGuard,
}

impl MediaServer {
    /// The key that the server trusts.
    pub const API_KEY: &str = "school-key";
    /// The secret of the key.
    pub const API_SECRET: &str = "a-secret-of-the-media-server-0123456789";

    /// Starts a server without people.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let rooms = Arc::new(watch::Sender::default());
        let (shared, stopped) = (rooms.clone(), CancellationToken::new());
        let (tracker, guard) = (TaskTracker::new(), stopped.clone().drop_guard());
        let connections = tracker.clone();
        tracker.spawn(stopped.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let exchange = exchange(stream, shared.clone());
                connections.spawn(stopped.clone().run_until_cancelled_owned(exchange));
            }
        }));
        Self {
            address,
            rooms,
            _guard: guard,
        }
    }

    /// Returns the address for clients.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Lets a person enter with a token.
    pub fn enter(&self, token: &str) {
        let (person, grants) = person(token);
        self.rooms.send_modify(|rooms| {
            rooms.present.insert(person, grants);
        });
    }

    /// Lets the person of a token leave.
    pub fn leave(&self, token: &str) {
        let (person, _) = person(token);
        self.rooms.send_modify(|rooms| {
            rooms.present.remove(&person);
        });
    }

    /// Returns whether the person of a token is in the room.
    pub fn has(&self, token: &str) -> bool {
        self.rooms.borrow().present.contains_key(&person(token).0)
    }

    /// Waits until the person of a token is no longer in the room.
    pub async fn left(&self, token: &str) {
        let (person, _) = person(token);
        let mut rooms = self.rooms.subscribe();
        let left = rooms.wait_for(|rooms| !rooms.present.contains_key(&person));
        left.await.expect("the server runs");
    }

    /// Lets all calls fail with a status, or none.
    pub fn fail(&self, status: Option<u16>) {
        self.rooms.send_modify(|rooms| rooms.failure = status);
    }

    /// Returns the number of lists that were requested.
    pub fn looks(&self) -> usize {
        self.rooms.borrow().looks
    }

    /// Returns the number of removals that were requested.
    pub fn removals(&self) -> usize {
        self.rooms.borrow().removals
    }
}

/// The room and the identity in a token, and its grants.
fn person(token: &str) -> ((String, String), Value) {
    let claims = verified(token).expect("a token of the service");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let grants = claims["video"].clone();
    ((text(&grants["room"]), text(&claims["sub"])), grants)
}

/// Verifies a token as LiveKit does, with HS256 and the secret.
fn verified(token: &str) -> Option<Value> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[MediaServer::API_KEY]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss"]);
    validation.validate_exp = false;
    let key = DecodingKey::from_secret(MediaServer::API_SECRET.as_bytes());
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation).ok()?;
    Some(decoded.claims)
}

/// Reads one request, replies to it and closes the connection. The result is not used, because a client may
/// disconnect.
async fn exchange(stream: TcpStream, rooms: Arc<watch::Sender<Rooms>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = read(&mut stream).await?;
    let mut response = (500, Value::Null);
    rooms.send_modify(|rooms| response = respond(rooms, &request));
    let (status, body) = (response.0, response.1.to_string());
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn respond(rooms: &mut Rooms, request: &HttpRequest) -> (u16, Value) {
    let method = request.target.strip_prefix("/twirp/livekit.RoomService/");
    match method {
        Some("ListParticipants") => rooms.looks += 1,
        Some("RemoveParticipant") => rooms.removals += 1,
        _ => {}
    }
    if let Some(status) = rooms.failure {
        return (status, json!({"code": "unavailable"}));
    }
    let is_json = request.header("content-type") == Some("application/json");
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let token = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let grant = token.and_then(verified).map(|claims| claims["video"].clone());
    let is_admin = |grant: Value| grant["roomAdmin"] == true && grant["room"] == body["room"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let room = text(&body["room"]);
    match method.filter(|_| request.method == "POST" && is_json) {
        None => (404, json!({"code": "bad_route"})),
        Some(_) if !grant.is_some_and(is_admin) => (401, json!({"code": "unauthenticated"})),
        Some("ListParticipants") => {
            let own = rooms.present.iter().filter(|((name, _), _)| *name == room);
            let people = own.map(|((_, identity), grants)| listed(identity, grants));
            (200, json!({"participants": people.collect::<Vec<_>>()}))
        }
        Some("RemoveParticipant") => match rooms.present.remove(&(room, text(&body["identity"]))) {
            Some(_) => (200, json!({})),
            None => (
                404,
                json!({"code": "not_found", "msg": "participant does not exist"}),
            ),
        },
        Some(_) => (404, json!({"code": "bad_route"})),
    }
}

/// A person as LiveKit lists one, with the fields that matter.
fn listed(identity: &str, grants: &Value) -> Value {
    json!({
        "sid": "PA_1", "identity": identity, "state": "ACTIVE", "tracks": [], "is_publisher": false,
        "permission": {
            "can_subscribe": grants["canSubscribe"], "can_publish": grants["canPublish"],
            "can_publish_data": grants["canPublishData"], "hidden": false,
        },
    })
}
