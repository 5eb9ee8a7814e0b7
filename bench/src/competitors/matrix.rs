//! Somebody who talks to Synapse: HTTP/1.1 over one kept connection, the client API of Matrix, and no more
//! than is compared.
use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A connection, and who speaks over it.
pub(super) struct Client {
    socket: TcpStream,
    token: Option<String>,
    user: String,
    said: u64,
}

impl Client {
    /// Connects and has been answered: the server serves.
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut client = Self {
            socket,
            token: None,
            user: String::new(),
            said: 0,
        };
        client.call("GET", "versions", None).await?;
        Ok(client)
    }

    /// Makes an account of this name and is signed in with it.
    pub(super) async fn register(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let mut client = Self::connect(address).await?;
        let account = json!({"username": name, "password": "secret", "auth": {"type": "m.login.dummy"}});
        let made = client.call("POST", "v3/register", Some(account)).await?;
        let text = |key: &str| made[key].as_str().map(str::to_owned).context("an account");
        client.token = Some(text("access_token")?);
        client.user = text("user_id")?;
        Ok(client)
    }

    /// Makes a room for those who are invited; its address.
    pub(super) async fn make(&mut self) -> anyhow::Result<String> {
        let room = json!({"preset": "private_chat"});
        let made = self.call("POST", "v3/createRoom", Some(room)).await?;
        Ok(made["room_id"].as_str().context("a room")?.to_owned())
    }

    pub(super) async fn invite(&mut self, room: &str, whom: &Self) -> anyhow::Result<()> {
        let path = format!("v3/rooms/{room}/invite");
        self.call("POST", &path, Some(json!({"user_id": whom.user})))
            .await?;
        Ok(())
    }

    pub(super) async fn join(&mut self, room: &str) -> anyhow::Result<()> {
        self.call("POST", &format!("v3/rooms/{room}/join"), Some(json!({})))
            .await?;
        Ok(())
    }

    /// Says something; answered when the room's events have it.
    pub(super) async fn say(&mut self, room: &str, text: &str) -> anyhow::Result<()> {
        self.said += 1;
        let path = format!("v3/rooms/{room}/send/m.room.message/{}", self.said);
        let message = json!({"msgtype": "m.text", "body": text});
        let said = self.call("PUT", &path, Some(message)).await?;
        ensure!(said["event_id"].is_string(), "no event: {said}");
        Ok(())
    }

    async fn call(&mut self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let who = self
            .token
            .iter()
            .map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "{method} /_matrix/client/{path} HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            who.collect::<String>(),
            body.len()
        );
        self.socket.write_all(request.as_bytes()).await?;
        let (status, answer) = self.answer().await?;
        ensure!(
            status == 200,
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(serde_json::from_slice(&answer)?)
    }

    /// The status and the body of the next response.
    async fn answer(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut bytes = Vec::with_capacity(1024);
        loop {
            let count = self.socket.read_buf(&mut bytes).await?;
            ensure!(count > 0, "the server hung up");
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

/// How a response marks the end of its body.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Told(usize),
    Chunked,
}

/// Status and how long the body is.
fn read_head(head: &[u8]) -> anyhow::Result<(u16, Length)> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.context("a status")?.parse()?;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((status, Length::Told(value.trim().parse()?)));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && value.trim() == "chunked" {
            return Ok((status, Length::Chunked));
        }
    }
    bail!("a response without a length: {head}")
}

impl Length {
    /// The body, if all of it is here.
    fn body(&self, bytes: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        if let Self::Told(length) = self {
            return Ok(bytes.get(..*length).map(<[u8]>::to_vec));
        }
        let (mut rest, mut body) = (bytes, Vec::new());
        while let Some(line) = rest.windows(2).position(|end| end == b"\r\n") {
            let size = std::str::from_utf8(rest.get(..line).unwrap_or_default())?;
            let size = usize::from_str_radix(size, 16)?;
            let from = line + 2;
            // Each chunk ends with a line's end, the empty one with which the body ends too.
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
    fn a_response_tells_its_status_and_its_length() {
        let head = b"HTTP/1.1 403 Forbidden\r\nServer: x\r\ncontent-length: 12";
        assert_eq!(read_head(head).unwrap(), (403, Length::Told(12)));
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked";
        assert_eq!(read_head(head).unwrap(), (200, Length::Chunked));
        assert!(read_head(b"HTTP/1.1 200 OK").is_err());
    }

    #[test]
    fn a_body_is_whole_when_its_last_byte_is_here() {
        let body = |length: Length, bytes: &[u8]| length.body(bytes).unwrap();
        assert_eq!(body(Length::Told(2), b"a"), None);
        assert_eq!(body(Length::Told(2), b"ab"), Some(b"ab".to_vec()));
        let chunks = b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        for end in 0..chunks.len() {
            assert_eq!(body(Length::Chunked, &chunks[..end]), None, "after {end} bytes");
        }
        assert_eq!(body(Length::Chunked, chunks), Some(b"abc0123456789".to_vec()));
        assert!(Length::Chunked.body(b"x\r\n").is_err());
    }
}
