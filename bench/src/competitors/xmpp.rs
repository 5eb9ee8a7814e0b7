//! A client of XMPP group chat (RFC 6120, XEP-0045, XEP-0313), built on `tokio-xmpp`.
use std::{net::SocketAddr, str::FromStr as _};

use anyhow::{Context as _, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use tokio::{io::BufReader, net::TcpStream};
use tokio_xmpp::{
    jid::{BareJid, Jid},
    minidom::Element,
    parsers::{
        bind::BindQuery,
        data_forms::{DataForm, DataFormType, Field},
        iq::Iq,
        mam::{self, QueryId},
        message::{Id, Lang, Message, MessageType},
        muc::{
            Muc, MucUser,
            muc::History,
            user::{Invite, Status},
        },
        ns,
        presence::{Presence, Type},
        rsm::SetQuery,
        sasl::{Auth, Mechanism, Nonza},
        stanza::Stanza,
        stanza_error::{DefinedCondition, StanzaError},
        stanza_id::StanzaId,
    },
    xmlstream::{
        FallibleStreamElement, InitiatingStream, ReadError, StreamHeader, Timeouts, XmppStream,
        XmppStreamElement, initiate_stream,
    },
};

/// The domain that the competitors are configured with.
const DOMAIN: &str = "localhost";
/// The password of every account.
pub(super) const PASSWORD: &str = "secret";
/// The number of accounts, named `u0`, `u1` and so on.
pub(super) const ACCOUNTS: usize = 6_000;

/// The namespace of the queries by which an owner configures a room.
const MUC_OWNER: &str = "http://jabber.org/protocol/muc#owner";

type Connection = BufReader<TcpStream>;

pub(super) fn account_name(n: usize) -> String {
    format!("u{n}")
}

pub(super) fn room_address(name: &str) -> String {
    format!("{name}@conference.{DOMAIN}")
}

/// A stream of a signed-in account.
pub(super) struct Member {
    stream: XmppStream<Connection>,
    /// The name of the account.
    name: String,
    /// The number of messages and queries sent, for their ids.
    sent: u64,
    /// The number of messages received from rooms, including the member's own.
    pub(super) received_messages: usize,
}

impl Member {
    /// Connects, signs in and becomes available.
    pub(super) async fn sign_in(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let mut stream = connect(address).await?;
        let auth = Nonza::Auth(Auth {
            mechanism: Mechanism::Plain,
            data: format!("\0{name}\0{PASSWORD}").into_bytes(),
        });
        stream.send(&XmppStreamElement::Sasl(auth)).await?;
        match read_element(&mut stream).await? {
            XmppStreamElement::Sasl(Nonza::Success(_)) => {}
            other => bail!("{name} cannot sign in: {other:?}"),
        }
        let mut member = Self {
            stream: restart_stream(stream.initiate_reset()).await?,
            name: name.to_owned(),
            sent: 0,
            received_messages: 0,
        };
        member
            .query(Iq::from_set("bind", BindQuery::new(Some("bench".to_owned()))))
            .await?;
        member.send(Presence::available()).await?;
        member
            .read_until(|stanza| {
                Ok(matches!(stanza, Stanza::Presence(presence) if presence.type_ == Type::None))
            })
            .await?;
        Ok(member)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The address of the member within a room.
    fn occupant(&self, room: &str) -> anyhow::Result<Jid> {
        Ok(BareJid::from_str(room)?.with_resource_str(&self.name)?.into())
    }

    fn new_id(&mut self, kind: char) -> String {
        self.sent += 1;
        format!("{kind}{}", self.sent)
    }

    async fn send(&mut self, stanza: impl Into<Stanza>) -> anyhow::Result<()> {
        Ok(self
            .stream
            .send(&XmppStreamElement::Stanza(stanza.into()))
            .await?)
    }

    /// Reads the next stanza. Cancel safe: a stanza that has arrived in part stays in the stream.
    async fn read(&mut self) -> anyhow::Result<Stanza> {
        let element = read_element(&mut self.stream)
            .await
            .with_context(|| format!("the stream of {}", self.name))?;
        let XmppStreamElement::Stanza(stanza) = element else {
            bail!("{} received {element:?}", self.name);
        };
        if let Stanza::Message(message) = &stanza
            && message.type_ == MessageType::Groupchat
            && !message.bodies.is_empty()
        {
            self.received_messages += 1;
        }
        Ok(stanza)
    }

    /// Reads stanzas until `is_wanted` returns true or an error.
    async fn read_until(
        &mut self,
        mut is_wanted: impl FnMut(&Stanza) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        loop {
            if is_wanted(&self.read().await?)? {
                return Ok(());
            }
        }
    }

    /// Reads and ignores stanzas until the connection ends.
    pub(super) async fn read_to_end(&mut self) -> anyhow::Result<()> {
        self.read_until(|_| Ok(false)).await
    }

    /// Waits for the next message in a room.
    pub(super) async fn receive_message(&mut self) -> anyhow::Result<()> {
        let before = self.received_messages;
        while self.received_messages == before {
            self.read().await?;
        }
        Ok(())
    }

    /// Sends a query and waits for its result. Other stanzas that arrive before it are ignored.
    async fn query(&mut self, query: Iq) -> anyhow::Result<()> {
        let id = query.id().to_owned();
        self.send(query).await?;
        self.read_until(|stanza| is_result_of(stanza, &id)).await
    }

    /// Enters a room under the account's name and waits for the presence that ends the list of occupants.
    pub(super) async fn join(&mut self, room: &str) -> anyhow::Result<()> {
        let occupant = self.occupant(room)?;
        let no_history = Muc::new().with_history(History::new().with_maxstanzas(0));
        let presence = Presence::available()
            .with_to(occupant.clone())
            .with_payload(no_history);
        self.send(presence).await?;
        self.read_until(|stanza| {
            let Some(presence) = presence_of(stanza, &occupant) else {
                return Ok(false);
            };
            check_presence(presence)?;
            Ok(muc_user(&presence.payloads).is_some_and(|user| user.status.contains(&Status::SelfPresence)))
        })
        .await
    }

    /// Creates a persistent room by entering it.
    pub(super) async fn create_room(&mut self, room: &str, members_only: bool) -> anyhow::Result<()> {
        self.join(room).await?;
        let flag = |is_set| if is_set { "1" } else { "0" };
        let fields = vec![
            Field::text_single("muc#roomconfig_persistentroom", flag(true)),
            Field::text_single("muc#roomconfig_membersonly", flag(members_only)),
        ];
        let form = DataForm::new(
            DataFormType::Submit,
            "http://jabber.org/protocol/muc#roomconfig",
            fields,
        );
        self.owner_query("create", room, form.into()).await
    }

    /// Destroys a room, which removes all occupants and is cheaper than each of them leaving.
    pub(super) async fn destroy(&mut self, room: &str) -> anyhow::Result<()> {
        let destroy = Element::bare("destroy", MUC_OWNER);
        self.owner_query("destroy", room, destroy).await
    }

    /// Sends a query that only the owner of the room may send.
    async fn owner_query(&mut self, id: &str, room: &str, what: Element) -> anyhow::Result<()> {
        let query = Iq::Set {
            from: None,
            to: Some(Jid::from_str(room)?),
            id: id.to_owned(),
            payload: Element::builder("query", MUC_OWNER).append(what).build(),
        };
        self.query(query).await
    }

    /// Waits until the server reports that the member's room was destroyed.
    pub(super) async fn wait_until_destroyed(&mut self) -> anyhow::Result<()> {
        self.read_until(|stanza| {
            let Stanza::Presence(presence) = stanza else {
                return Ok(false);
            };
            let mut payloads = presence
                .payloads
                .iter()
                .filter(|payload| payload.is("x", ns::MUC_USER));
            Ok(payloads.any(|payload| payload.has_child("destroy", ns::MUC_USER)))
        })
        .await
    }

    pub(super) async fn leave(&mut self, room: &str) -> anyhow::Result<()> {
        let occupant = self.occupant(room)?;
        self.send(Presence::unavailable().with_to(occupant.clone()))
            .await?;
        self.read_until(|stanza| {
            let presence = presence_of(stanza, &occupant);
            presence.map_or(Ok(false), |presence| check_presence(presence).map(|()| true))
        })
        .await
    }

    /// Makes an account a member of a room. The server notifies it.
    pub(super) async fn invite(&mut self, room: &str, invitee: &str) -> anyhow::Result<()> {
        let invite = MucUser {
            invite: Some(Invite {
                from: None,
                to: Some(Jid::from_str(&format!("{invitee}@{DOMAIN}"))?),
                reason: None,
            }),
            ..MucUser::new()
        };
        self.send(Message::normal(Jid::from_str(room)?).with_payload(invite))
            .await
    }

    pub(super) async fn wait_for_invitation(&mut self) -> anyhow::Result<()> {
        self.read_until(|stanza| {
            let Stanza::Message(message) = stanza else {
                return Ok(false);
            };
            Ok(muc_user(&message.payloads).is_some_and(|user| user.invite.is_some()))
        })
        .await
    }

    async fn send_text(&mut self, room: &str, text: &str) -> anyhow::Result<Id> {
        let id = Id(self.new_id('m'));
        let mut message =
            Message::groupchat(Jid::from_str(room)?).with_body(Lang::default(), text.to_owned());
        message.id = Some(id.clone());
        self.send(message).await?;
        Ok(id)
    }

    /// Sends a message and waits for its echo. The server sends the echo after it has archived the message,
    /// with the id in the archive.
    pub(super) async fn send_message(&mut self, room: &str, text: &str) -> anyhow::Result<()> {
        let id = self.send_text(room, text).await?;
        let (occupant, room) = (self.occupant(room)?, Jid::from_str(room)?);
        let mut archived = false;
        self.read_until(|stanza| {
            let Some(message) = message_of(stanza, &id) else {
                return Ok(false);
            };
            if message
                .from
                .as_ref()
                .is_none_or(|from| *from != occupant && *from != room)
            {
                return Ok(false);
            }
            if message.type_ == MessageType::Error {
                bail!("refused: {message:?}");
            }
            archived |= payload::<StanzaId>(&message.payloads).is_some();
            Ok(true)
        })
        .await?;
        ensure!(archived, "a message from {} was not archived", self.name);
        Ok(())
    }

    /// Sends a message to a room that the account is not a member of, and waits for the refusal.
    pub(super) async fn expect_refusal(&mut self, room: &str, text: &str) -> anyhow::Result<()> {
        let id = self.send_text(room, text).await?;
        self.read_until(|stanza| {
            let Some(message) = message_of(stanza, &id) else {
                return Ok(false);
            };
            let error = payload::<StanzaError>(&message.payloads).context("the message was accepted")?;
            ensure!(
                error.defined_condition == DefinedCondition::NotAcceptable,
                "{error:?}"
            );
            Ok(true)
        })
        .await
    }

    /// Reads the newest messages of a room's archive and returns their number.
    pub(super) async fn newest_page(&mut self, room: &str, count: usize) -> anyhow::Result<usize> {
        let id = self.new_id('p');
        let query = mam::Query {
            queryid: Some(QueryId(id.clone())),
            node: None,
            form: None,
            set: Some(SetQuery {
                max: Some(count),
                after: None,
                before: Some(String::new()),
                index: None,
            }),
            flip_page: false,
        };
        self.send(Iq::from_set(id.clone(), query).with_to(Jid::from_str(room)?))
            .await?;
        let mut found = 0;
        self.read_until(|stanza| {
            if let Stanza::Message(message) = stanza {
                let results = message
                    .payloads
                    .iter()
                    .filter(|payload| payload.is("result", ns::MAM));
                found += results.count();
            }
            is_result_of(stanza, &id)
        })
        .await?;
        Ok(found)
    }
}

/// Connects and waits for the stream features, which show that the server is ready.
pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<XmppStream<Connection>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let socket = BufReader::new(socket);
    let opened = initiate_stream(socket, ns::JABBER_CLIENT, stream_header(), Timeouts::default()).await?;
    Ok(opened.recv_features().await?.1)
}

/// Restarts the stream after signing in, as SASL requires.
async fn restart_stream(stream: InitiatingStream<Connection>) -> anyhow::Result<XmppStream<Connection>> {
    Ok(stream
        .send_header(stream_header())
        .await?
        .recv_features()
        .await?
        .1)
}

fn stream_header() -> StreamHeader<'static> {
    StreamHeader {
        to: Some(DOMAIN.into()),
        ..StreamHeader::default()
    }
}

async fn read_element(stream: &mut XmppStream<Connection>) -> anyhow::Result<XmppStreamElement> {
    loop {
        match stream.next().await.context("the server closed the connection")? {
            Ok(FallibleStreamElement::Ok(element)) => return Ok(element),
            Ok(FallibleStreamElement::Err(error)) => return Err(error.into()),
            // Nothing arrived for minutes, which is not an error for a client that only receives.
            Err(ReadError::SoftTimeout) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a stanza is the result of the query with this id. Fails if the server refused the query.
fn is_result_of(stanza: &Stanza, id: &str) -> anyhow::Result<bool> {
    let Stanza::Iq(iq) = stanza else {
        return Ok(false);
    };
    if iq.id() != id {
        return Ok(false);
    }
    match iq {
        Iq::Error { error, .. } => bail!("refused: {error:?}"),
        Iq::Result { .. } => Ok(true),
        Iq::Get { .. } | Iq::Set { .. } => Ok(false),
    }
}

/// Returns the presence of an occupant, if the stanza is one.
fn presence_of<'a>(stanza: &'a Stanza, occupant: &Jid) -> Option<&'a Presence> {
    match stanza {
        Stanza::Presence(presence) if presence.from.as_ref() == Some(occupant) => Some(presence),
        _ => None,
    }
}

fn message_of<'a>(stanza: &'a Stanza, id: &Id) -> Option<&'a Message> {
    match stanza {
        Stanza::Message(message) if message.id.as_ref() == Some(id) => Some(message),
        _ => None,
    }
}

/// Fails if the presence is an error.
fn check_presence(presence: &Presence) -> anyhow::Result<()> {
    ensure!(presence.type_ != Type::Error, "refused: {presence:?}");
    Ok(())
}

/// Returns the first payload of this type.
fn payload<T: TryFrom<Element>>(payloads: &[Element]) -> Option<T> {
    payloads
        .iter()
        .find_map(|payload| T::try_from(payload.clone()).ok())
}

/// Returns the payload in which a room describes an occupant.
fn muc_user(payloads: &[Element]) -> Option<MucUser> {
    payload(payloads)
}

#[cfg(test)]
mod tests;
