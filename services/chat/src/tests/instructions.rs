//! What the server's part of one send and of one delivery costs in instructions: a number that a busy machine does not move.
//! Run by `cargo xtask instructions` under callgrind, which counts this thread alone: the layers, the service, the writer
//! and the live streams, but neither the transport nor the database, whose thread is another.
#![expect(clippy::print_stdout, reason = "says what was done while callgrind counted")]
use std::pin::Pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::Body as _;
use parta_proto::parta::chat::v1::{self as pb, ChatKind::ClassPupils};
use parta_testkit::TestDatabase;
use prost::Message as _;
use tonic::body::Body;
use tower::Service as _;

use super::school::*;

/// A request as the transport hands it to the layers.
fn request(rpc: &str, credential: &http::HeaderValue, message: &impl prost::Message) -> http::Request<Body> {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.encoded_len() as u32);
    message.encode(&mut body).unwrap();
    http::Request::post(format!("http://chat/parta.chat.v1.{rpc}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("authorization", credential)
        .body(Body::new(Whole(Some(body.freeze()))))
        .unwrap()
}

/// A body of one frame.
struct Whole(Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, tonic::Status>>> {
        std::task::Poll::Ready(self.0.take().map(|data| Ok(http_body::Frame::data(data))))
    }
}

async fn frame(body: &mut Body) -> Option<http_body::Frame<Bytes>> {
    let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
    frame.transpose().unwrap()
}

/// Who listens, with what of the stream came and was not looked at yet: a frame may carry several messages.
struct Listener(Body, BytesMut);

impl Listener {
    /// The next entry, whatever signs of life come before it.
    async fn next(&mut self) -> pb::Entry {
        loop {
            while let Some(head) = self.1.get(1..5) {
                let length = u32::from_be_bytes(head.try_into().unwrap()) as usize;
                if self.1.len() < 5 + length {
                    break;
                }
                let message = self.1.split_to(5 + length);
                let response = pb::SubscribeChatsResponse::decode(&message[5..]).unwrap();
                if let Some(pb::subscribe_chats_response::Item::Entry(entry)) = response.item {
                    return entry;
                }
            }
            let data = frame(&mut self.0).await.unwrap().into_data().unwrap();
            self.1.extend_from_slice(&data);
        }
    }
}

/// Sends messages into a class's chat while its streams are read; both numbers come from the environment, so that the
/// difference of two runs is that of the messages, or of the streams, alone.
#[test]
#[ignore = "cargo xtask instructions runs it under callgrind"]
fn messages() {
    let number = |name: &str| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let (count, listening) = (number("PARTA_MESSAGES"), number("PARTA_STREAMS"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let school = School::open(TestDatabase::sqlite()).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let (org_id, chat_id) = (school.org.to_string(), class.to_string());
        let credential = format!("Bearer {}", school.suite.token(school.org, school.pupil));
        let credential = http::HeaderValue::from_str(&credential).unwrap();
        let mut service = school.suite.service.clone();

        let mut streams = Vec::new();
        for _ in 0..listening {
            let subscribe = pb::SubscribeChatsRequest {
                org_id: org_id.clone(),
                cursors: Vec::new(),
            };
            let open = request("LiveService/SubscribeChats", &credential, &subscribe);
            let mut body = service.call(open).await.unwrap().into_body();
            // The stream begins with what it goes on after.
            assert!(frame(&mut body).await.unwrap().is_data());
            streams.push(Listener(body, BytesMut::new()));
        }
        for n in 0..count {
            let message = pb::SendMessageRequest {
                request_id: new_uuid(&school.suite).to_string(),
                org_id: org_id.clone(),
                chat_id: chat_id.clone(),
                text: format!("{n:0>200}"),
            };
            let send = request("MessageService/SendMessage", &credential, &message);
            let mut body = service.call(send).await.unwrap().into_body();
            let answer = frame(&mut body).await.unwrap().into_data().unwrap();
            let answer = pb::SendMessageResponse::decode(answer.slice(5..)).unwrap();
            assert!(answer.seq > 0);
            let trailers = frame(&mut body).await.unwrap().into_trailers().unwrap();
            assert_eq!(trailers["grpc-status"], "0");
            for stream in &mut streams {
                assert_eq!(stream.next().await.seq, answer.seq);
            }
        }
        println!("{count} messages, each to {listening} streams");
    });
}
