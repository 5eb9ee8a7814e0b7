//! Tests the client with a small server that responds as ejabberd and Prosody do.
use tokio::net::TcpListener;
use tokio_xmpp::{
    parsers::{
        bind::BindResponse,
        delay::Delay,
        forwarding::Forwarded,
        mam::{Fin, Result_},
        rsm::SetResult,
        sasl::Success,
        stanza_error::ErrorType,
        stream_features::StreamFeatures,
    },
    xmlstream::accept_stream,
};

use super::*;

const NAME: &str = "u7";
const ROOM: &str = "class@conference.localhost";

/// A connection to a server with one room. Its archive has three messages, and it refuses the text
/// "forbidden".
struct Server(XmppStream<Connection>);

impl Server {
    async fn accept(listener: TcpListener) -> anyhow::Result<Self> {
        let (socket, _) = listener.accept().await?;
        let accepted = accept_stream(BufReader::new(socket), ns::JABBER_CLIENT, Timeouts::default()).await?;
        ensure!(accepted.header().to.as_deref() == Some(DOMAIN));
        let begun = accepted.send_header(StreamHeader::default()).await?;
        let mut stream = begun.send_features(&StreamFeatures::default()).await?;
        let XmppStreamElement::Sasl(Nonza::Auth(auth)) = read_element(&mut stream).await? else {
            bail!("expected a sign-in request");
        };
        ensure!(auth.data == format!("\0{NAME}\0{PASSWORD}").into_bytes());
        let success = XmppStreamElement::Sasl(Nonza::Success(Success { data: Vec::new() }));
        let begun = stream
            .accept_reset(&success)
            .await?
            .send_header(StreamHeader::default())
            .await?;
        Ok(Self(begun.send_features(&StreamFeatures::default()).await?))
    }

    async fn serve(mut self) -> anyhow::Result<()> {
        while let Ok(XmppStreamElement::Stanza(stanza)) = read_element(&mut self.0).await {
            match stanza {
                Stanza::Presence(presence) => self.presence(presence).await?,
                Stanza::Message(message) => self.message(message).await?,
                Stanza::Iq(Iq::Set { id, payload, .. }) => self.query(id, payload).await?,
                Stanza::Iq(_) => bail!("unexpected query"),
            }
        }
        Ok(())
    }

    async fn send(&mut self, stanza: impl Into<Stanza>) -> anyhow::Result<()> {
        Ok(self.0.send(&XmppStreamElement::Stanza(stanza.into())).await?)
    }

    /// Sends the presence of another occupant first, as in a room with occupants.
    async fn presence(&mut self, presence: Presence) -> anyhow::Result<()> {
        let Some(occupant) = presence.to else {
            return self
                .send(Presence::available().with_from(Jid::from_str("u7@localhost/bench")?))
                .await;
        };
        if occupant.to_bare().as_str() != ROOM {
            return self.send(Presence::error().with_from(occupant)).await;
        }
        let other = Presence::available().with_from(BareJid::from_str(ROOM)?.with_resource_str("u1")?);
        self.send(other.with_payload(MucUser::new())).await?;
        let own = MucUser::new().with_statuses(vec![Status::SelfPresence]);
        self.send(
            Presence::new(presence.type_)
                .with_from(occupant)
                .with_payload(own),
        )
        .await
    }

    async fn message(&mut self, mut message: Message) -> anyhow::Result<()> {
        let room = BareJid::from_str(ROOM)?;
        if message.type_ == MessageType::Normal {
            return self
                .send(Message::normal(None).with_payloads(message.payloads))
                .await;
        }
        (message.from, message.to) = (Some(room.with_resource_str(NAME)?.into()), None);
        if message.bodies.values().any(|body| body == "forbidden") {
            let error = StanzaError::new(ErrorType::Cancel, DefinedCondition::NotAcceptable, "en", "no");
            message.type_ = MessageType::Error;
            return self.send(message.with_payload(error)).await;
        }
        let stored = StanzaId {
            id: "1".to_owned(),
            by: room.into(),
        };
        self.send(message.with_payload(stored)).await
    }

    async fn query(&mut self, id: String, payload: Element) -> anyhow::Result<()> {
        let result = if let Ok(query) = mam::Query::try_from(payload.clone()) {
            for n in 0..query.set.and_then(|set| set.max).unwrap_or_default().min(3) {
                self.send(Message::normal(None).with_payload(archived(n)?))
                    .await?;
            }
            let fin = Fin {
                complete: true,
                set: SetResult {
                    first: None,
                    last: None,
                    count: Some(3),
                },
            };
            Iq::from_result(id, Some(fin))
        } else if BindQuery::try_from(payload.clone()).is_ok() {
            let jid = BareJid::from_str("u7@localhost")?.with_resource_str("bench")?;
            Iq::from_result(id, Some(BindResponse { jid }))
        } else {
            ensure!(payload.is("query", MUC_OWNER), "{payload:?}");
            let destroys = payload.has_child("destroy", MUC_OWNER);
            if destroys {
                let destroy = Element::builder("x", ns::MUC_USER)
                    .append(Element::bare("destroy", ns::MUC_USER))
                    .build();
                self.send(Presence::unavailable().with_payloads(vec![destroy]))
                    .await?;
            }
            ensure!(destroys || payload.has_child("x", ns::DATA_FORMS), "{payload:?}");
            Iq::from_result(id, None::<BindResponse>)
        };
        self.send(result).await
    }
}

fn archived(n: usize) -> anyhow::Result<Result_> {
    Ok(Result_ {
        id: n.to_string(),
        queryid: None,
        forwarded: Forwarded {
            delay: Some(Delay {
                from: None,
                stamp: "2026-09-01T08:00:00Z".parse()?,
                data: None,
            }),
            message: Message::groupchat(Jid::from_str(ROOM)?).with_body(Lang::default(), "text".to_owned()),
        },
    })
}

/// Runs `test` with a signed-in member. Fails if the server fails.
fn with_member<F: Future<Output = anyhow::Result<()>>>(test: impl FnOnce(Member) -> F) {
    parta_testkit::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async { Server::accept(listener).await?.serve().await };
        let testing = async { test(Member::sign_in(address, NAME).await?).await };
        let (served, tested) = tokio::join!(serving, testing);
        tested.unwrap();
        served.unwrap();
    });
}

#[test]
fn sent_messages_are_echoed_and_archived() {
    with_member(|mut member| async move {
        member.create_room(ROOM, true).await?;
        member.send_message(ROOM, "Всем <привет> & пока").await?;
        member.send_message(ROOM, "again").await?;
        ensure!(
            member.received_messages == 2,
            "received {} messages",
            member.received_messages
        );
        ensure!(member.newest_page(ROOM, 2).await? == 2);
        ensure!(member.newest_page(ROOM, 50).await? == 3);
        member.leave(ROOM).await
    });
}

#[test]
fn refusals_are_returned_as_errors() {
    with_member(|mut member| async move {
        let refused = member.join("other@conference.localhost").await;
        ensure!(refused.is_err_and(|error| error.to_string().starts_with("refused")));
        member.join(ROOM).await?;
        member.expect_refusal(ROOM, "forbidden").await?;
        ensure!(member.expect_refusal(ROOM, "allowed").await.is_err());
        ensure!(member.send_message(ROOM, "forbidden").await.is_err());
        Ok(())
    });
}

#[test]
fn member_receives_invitation_and_destroys_room() {
    with_member(|mut member| async move {
        member.invite(ROOM, NAME).await?;
        member.wait_for_invitation().await?;
        member.join(ROOM).await?;
        member.destroy(ROOM).await
    });
}

#[test]
fn member_is_notified_when_the_room_is_destroyed() {
    with_member(|mut member| async move {
        member.join(ROOM).await?;
        let destroy = Element::builder("query", MUC_OWNER).append(Element::bare("destroy", MUC_OWNER));
        let query = Iq::Set {
            from: None,
            to: None,
            id: "destroy".to_owned(),
            payload: destroy.build(),
        };
        member.send(query).await?;
        member.wait_until_destroyed().await
    });
}

#[test]
fn partial_stanza_is_kept_until_it_is_complete() {
    use tokio::io::AsyncWriteExt as _;
    parta_testkit::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = connect(listener.local_addr().unwrap());
        let serving = async {
            let mut socket = listener.accept().await.unwrap().0;
            let text = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' \
                        xmlns:stream='http://etherx.jabber.org/streams'><stream:features/><message ";
            socket.write_all(text.as_bytes()).await.unwrap();
            socket
        };
        let (stream, mut socket) = tokio::join!(connecting, serving);
        let mut member = Member {
            stream: stream.unwrap(),
            name: NAME.to_owned(),
            sent: 0,
            received_messages: 0,
        };
        let waiting =
            tokio::time::timeout(std::time::Duration::from_millis(20), member.receive_message()).await;
        assert!(waiting.is_err());
        socket
            .write_all(b"type='groupchat'><body>a</body></message></stream:stream>")
            .await
            .unwrap();
        member.receive_message().await.unwrap();
        assert!(member.read_to_end().await.is_err(), "the stream has ended");
    });
}
