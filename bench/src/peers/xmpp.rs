//! A member of group chats over XMPP (RFC 6120, XEP-0045, XEP-0313): as little as it takes to be compared with.
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::xml::{Cutter, Stanza};

/// The domain that the peers are configured with.
const DOMAIN: &str = "localhost";
/// The password of everybody.
pub(super) const PASSWORD: &str = "secret";
/// How many people have accounts, `u0` and on.
pub(super) const PEOPLE: usize = 6_000;

/// The name of a person's account.
pub(super) fn person(n: usize) -> String {
    format!("u{n}")
}

/// The address of a room.
pub(super) fn room(name: &str) -> String {
    format!("{name}@conference.{DOMAIN}")
}

/// A connection of somebody who has signed in.
pub(super) struct Member {
    socket: TcpStream,
    cutter: Cutter,
    /// Their account's name.
    name: String,
    said: u64,
    /// Messages of rooms that came, their own among them.
    pub(super) heard: usize,
}

impl Member {
    /// Connects, signs in and is available.
    pub(super) async fn enter(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let mut member = Self::connect(address, name).await?;
        let proof = STANDARD.encode(format!("\0{name}\0{PASSWORD}"));
        member
            .write(&format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>"
            ))
            .await?;
        let answer = member.read().await?;
        ensure!(answer.is("success"), "{name} may not enter: {}", answer.text());
        member.begin().await?;
        member
            .ask(
                "set",
                "bind",
                None,
                "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind>",
            )
            .await?;
        member.write("<presence/>").await?;
        member.until(|stanza| stanza.is("presence")).await?;
        Ok(member)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Connects and has been greeted: the server serves.
    pub(super) async fn connect(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut member = Self {
            socket,
            cutter: Cutter::default(),
            name: name.to_owned(),
            said: 0,
            heard: 0,
        };
        member.begin().await?;
        Ok(member)
    }

    /// Begins the stream, as at first and again after signing in.
    async fn begin(&mut self) -> anyhow::Result<()> {
        self.cutter = Cutter::default();
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' to='{DOMAIN}' version='1.0'>"
        );
        self.write(&header).await?;
        self.until(|stanza| stanza.is("stream:features")).await
    }

    async fn write(&mut self, xml: &str) -> anyhow::Result<()> {
        Ok(self.socket.write_all(xml.as_bytes()).await?)
    }

    /// The next stanza. What has come stays where a caller gives up waiting.
    async fn read(&mut self) -> anyhow::Result<Stanza<'_>> {
        let range = loop {
            if let Some(range) = self.cutter.cut()? {
                break range;
            }
            self.cutter.forget();
            self.cutter.bytes.reserve(4096);
            let count = self.socket.read_buf(&mut self.cutter.bytes).await?;
            ensure!(count > 0, "the server hung up on {}", self.name);
        };
        let stanza = Stanza::new(self.cutter.bytes.get(range).unwrap_or_default())?;
        if stanza.is("message") && stanza.attribute("type") == Some("groupchat") && stanza.holds("body") {
            self.heard += 1;
        }
        Ok(stanza)
    }

    /// Reads until something wanted has come.
    async fn until(&mut self, mut wanted: impl FnMut(&Stanza<'_>) -> bool) -> anyhow::Result<()> {
        loop {
            let stanza = self.read().await?;
            if wanted(&stanza) {
                return stanza.accepted();
            }
        }
    }

    /// Reads what comes for as long as the connection lasts.
    pub(super) async fn listen(&mut self) -> anyhow::Result<()> {
        self.until(|_| false).await
    }

    /// Waits for the next message that somebody wrote in a room.
    pub(super) async fn hear(&mut self) -> anyhow::Result<()> {
        let before = self.heard;
        while self.heard == before {
            self.read().await?;
        }
        Ok(())
    }

    /// Asks and waits for the answer; what else comes before it is passed over.
    async fn ask(&mut self, kind: &str, id: &str, to: Option<&str>, what: &str) -> anyhow::Result<()> {
        let to = to.map_or_else(String::new, |to| format!(" to='{to}'"));
        self.write(&format!("<iq type='{kind}' id='{id}'{to}>{what}</iq>"))
            .await?;
        self.until(|stanza| stanza.is("iq") && stanza.attribute("id") == Some(id))
            .await
    }

    /// Enters a room under their account's name; over when the server has told everything about it.
    pub(super) async fn join(&mut self, room: &str) -> anyhow::Result<()> {
        let place = format!("{room}/{}", self.name);
        self.write(&format!(
            "<presence to='{place}'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
        ))
        .await?;
        self.until(|stanza| {
            let own = stanza.is("presence") && stanza.attribute("from") == Some(&place);
            own && (stanza.has_status(110) || stanza.accepted().is_err())
        })
        .await
    }

    /// Makes a room by entering it, kept when empty; for members alone if so wanted.
    pub(super) async fn make(&mut self, room: &str, members_only: bool) -> anyhow::Result<()> {
        self.join(room).await?;
        let field = |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
        let form = [
            field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig"),
            field("muc#roomconfig_persistentroom", "1"),
            field("muc#roomconfig_membersonly", if members_only { "1" } else { "0" }),
        ];
        let form = format!(
            "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>{}</x></query>",
            form.concat()
        );
        self.ask("set", "make", Some(room), &form).await
    }

    /// Destroys a room with all who are in it, at less cost than that of everybody leaving.
    pub(super) async fn destroy(&mut self, room: &str) -> anyhow::Result<()> {
        let query = "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query>";
        self.ask("set", "destroy", Some(room), query).await
    }

    /// Waits until the room that they are in is no more.
    pub(super) async fn put_out(&mut self) -> anyhow::Result<()> {
        self.until(|stanza| stanza.is("presence") && stanza.holds("destroy"))
            .await
    }

    /// Leaves a room.
    pub(super) async fn leave(&mut self, room: &str) -> anyhow::Result<()> {
        let place = format!("{room}/{}", self.name);
        self.write(&format!("<presence type='unavailable' to='{place}'/>"))
            .await?;
        self.until(|stanza| stanza.is("presence") && stanza.attribute("from") == Some(&place))
            .await
    }

    /// Makes somebody a member of a room and tells them.
    pub(super) async fn invite(&mut self, room: &str, whom: &str) -> anyhow::Result<()> {
        self.write(&format!(
            "<message to='{room}'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='{whom}@{DOMAIN}'/></x></message>"
        ))
        .await
    }

    /// Waits for an invitation.
    pub(super) async fn invited(&mut self) -> anyhow::Result<()> {
        self.until(|stanza| stanza.is("message") && stanza.holds("invite"))
            .await
    }

    /// Writes a message; its id.
    async fn put(&mut self, room: &str, text: &str) -> anyhow::Result<String> {
        self.said += 1;
        let id = format!("m{}", self.said);
        self.write(&format!(
            "<message type='groupchat' id='{id}' to='{room}'><body>{text}</body></message>"
        ))
        .await?;
        Ok(id)
    }

    /// Says something; answered by its echo, which comes when the archive has it and carries its place there.
    pub(super) async fn say(&mut self, room: &str, text: &str) -> anyhow::Result<()> {
        let id = self.put(room, text).await?;
        let place = format!("{room}/{}", self.name);
        let mut archived = false;
        self.until(|stanza| {
            let mine = stanza.is("message")
                && stanza.attribute("id") == Some(&id)
                && stanza
                    .attribute("from")
                    .is_some_and(|from| from == place || from == room);
            archived |= mine && stanza.holds("stanza-id");
            mine
        })
        .await?;
        ensure!(archived, "a message of {} was not archived", self.name);
        Ok(())
    }

    /// Says something where they may not.
    pub(super) async fn be_refused(&mut self, room: &str, text: &str) -> anyhow::Result<()> {
        let id = self.put(room, text).await?;
        let refused = self
            .until(|stanza| stanza.is("message") && stanza.attribute("id") == Some(&id))
            .await;
        let refusal = refused.err().context("let in")?.to_string();
        ensure!(refusal.contains("<not-acceptable"), "{refusal}");
        Ok(())
    }

    /// Reads the newest messages of a room's archive; how many came.
    pub(super) async fn newest(&mut self, room: &str, count: usize) -> anyhow::Result<usize> {
        self.said += 1;
        let id = format!("p{}", self.said);
        self.write(&format!(
            "<iq type='set' id='{id}' to='{room}'><query xmlns='urn:xmpp:mam:2' queryid='{id}'>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>{count}</max><before/></set></query></iq>"
        ))
        .await?;
        let mut found = 0;
        self.until(|stanza| {
            found += usize::from(stanza.is("message") && stanza.holds("result"));
            stanza.is("iq") && stanza.attribute("id") == Some(&id)
        })
        .await?;
        Ok(found)
    }
}
