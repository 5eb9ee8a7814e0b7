//! A client of Synapse: the calls of the Matrix client API that the bench needs, over one HTTP/1.1
//! connection.
use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A connection with its account.
pub(super) struct Client {
    socket: TcpStream,
    token: Option<String>,
    user: String,
    sent: u64,
}

impl Client {
    /// Connects and waits for the response to a first call, which shows that the server is ready.
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut client = Self {
            socket,
            token: None,
            user: String::new(),
            sent: 0,
        };
        client.call("GET", "versions", None).await?;
        Ok(client)
    }

    /// Creates an account with this name and signs in.
    pub(super) async fn register(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let mut client = Self::connect(address).await?;
        let account = json!({"username": name, "password": "secret", "auth": {"type": "m.login.dummy"}});
        let created = client.call("POST", "v3/register", Some(account)).await?;
        let text = |key: &str| {
            created[key]
                .as_str()
                .map(str::to_owned)
                .context("no account in the response")
        };
        client.token = Some(text("access_token")?);
        client.user = text("user_id")?;
        Ok(client)
    }

    /// Creates a room for invited members and returns its address.
    pub(super) async fn create_room(&mut self) -> anyhow::Result<String> {
        let room = json!({"preset": "private_chat"});
        let created = self.call("POST", "v3/createRoom", Some(room)).await?;
        Ok(created["room_id"]
            .as_str()
            .context("no room in the response")?
            .to_owned())
    }

    pub(super) async fn invite(&mut self, room: &str, invitee: &Self) -> anyhow::Result<()> {
        let path = format!("v3/rooms/{room}/invite");
        self.call("POST", &path, Some(json!({"user_id": invitee.user})))
            .await?;
        Ok(())
    }

    pub(super) async fn join(&mut self, room: &str) -> anyhow::Result<()> {
        self.call("POST", &format!("v3/rooms/{room}/join"), Some(json!({})))
            .await?;
        Ok(())
    }

    /// Sends a message and waits until it is stored as an event of the room.
    pub(super) async fn send_message(&mut self, room: &str, text: &str) -> anyhow::Result<()> {
        self.sent += 1;
        let path = format!("v3/rooms/{room}/send/m.room.message/{}", self.sent);
        let message = json!({"msgtype": "m.text", "body": text});
        let response = self.call("PUT", &path, Some(message)).await?;
        ensure!(response["event_id"].is_string(), "no event: {response}");
        Ok(())
    }

    async fn call(&mut self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let authorization = self
            .token
            .iter()
            .map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "{method} /_matrix/client/{path} HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\n\
             Content-BodyLength: {}\r\n\r\n{body}",
            authorization.collect::<String>(),
            body.len()
        );
        self.socket.write_all(request.as_bytes()).await?;
        let (status, response) = self.read_response().await?;
        ensure!(
            status == 200,
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&response)
        );
        Ok(serde_json::from_slice(&response)?)
    }

    /// Reads the status and the body of the next response.
    async fn read_response(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut bytes = Vec::with_capacity(1024);
        loop {
            let count = self.socket.read_buf(&mut bytes).await?;
            ensure!(count > 0, "the server closed the connection");
            let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
                continue;
            };
            let (head, body) = (bytes.get(..end), bytes.get(end + 4..));
            let (status, length) = read_head(head.unwrap_or_default())?;
            if let Some(body) = length.body(body.unwrap_or_default())? {
                return Ok((status, body));
            }
        }
    }
}

/// The form in which the length of a response body is given.
#[derive(Debug, PartialEq, Eq)]
enum BodyLength {
    Known(usize),
    Chunked,
}

/// Parses the status and the length of the body.
fn read_head(head: &[u8]) -> anyhow::Result<(u16, BodyLength)> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.context("no status")?.parse()?;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((status, BodyLength::Known(value.trim().parse()?)));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && value.trim() == "chunked" {
            return Ok((status, BodyLength::Chunked));
        }
    }
    bail!("a response without a length: {head}")
}

impl BodyLength {
    /// Returns the body if it has arrived completely.
    fn body(&self, bytes: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        if let Self::Known(length) = self {
            return Ok(bytes.get(..*length).map(<[u8]>::to_vec));
        }
        let (mut rest, mut body) = (bytes, Vec::new());
        while let Some(line) = rest.windows(2).position(|end| end == b"\r\n") {
            let size = std::str::from_utf8(rest.get(..line).unwrap_or_default())?;
            let size = usize::from_str_radix(size, 16)?;
            let from = line + 2;
            // Each chunk ends with CRLF, also the empty chunk at the end of the body.
            let (Some(chunk), Some(after)) = (rest.get(from..from + size), rest.get(from + size + 2..))
            else {
                break;
            };
            if size == 0 {
                return Ok(Some(body));
            }
            body.extend_from_slice(chunk);
            rest = after;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_head_returns_status_and_body_length() {
        let head = b"HTTP/1.1 403 Forbidden\r\nServer: x\r\ncontent-length: 12";
        assert_eq!(read_head(head).unwrap(), (403, BodyLength::Known(12)));
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked";
        assert_eq!(read_head(head).unwrap(), (200, BodyLength::Chunked));
        assert!(read_head(b"HTTP/1.1 200 OK").is_err());
    }

    #[test]
    fn body_is_returned_when_it_is_complete() {
        let body = |length: BodyLength, bytes: &[u8]| length.body(bytes).unwrap();
        assert_eq!(body(BodyLength::Known(2), b"a"), None);
        assert_eq!(body(BodyLength::Known(2), b"ab"), Some(b"ab".to_vec()));
        let chunks = b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        for end in 0..chunks.len() {
            assert_eq!(
                body(BodyLength::Chunked, &chunks[..end]),
                None,
                "after {end} bytes"
            );
        }
        assert_eq!(body(BodyLength::Chunked, chunks), Some(b"abc0123456789".to_vec()));
        assert!(BodyLength::Chunked.body(b"x\r\n").is_err());
    }
}
