//! Counts the instructions of one send and of one delivery in the server, which do not depend on the load of
//! the machine.
//! `cargo xtask instructions` runs it under callgrind, which counts only this thread: the layers, the
//! service, the writer and the live streams, but not the transport and the database, which have other
//! threads.
#![expect(clippy::print_stdout, reason = "prints the work that callgrind counted")]
use std::pin::Pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::Body as _;
use parta_proto_chat::v1::{self as pb, ChatKind::ClassPupils};
use parta_testkit::TestDatabase;
use prost::Message as _;
use tonic::body::Body;
use tower::Service as _;

use super::school::*;

/// A request as the layers get it from the transport.
fn request(rpc: &str, credential: &http::HeaderValue, message: &impl prost::Message) -> http::Request<Body> {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.encoded_len() as u32);
    message.encode(&mut body).unwrap();
    http::Request::post(format!("http://chat/parta.chat.v1.{rpc}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("authorization", credential)
        .body(Body::new(SingleFrame(Some(body.freeze()))))
        .unwrap()
}

struct SingleFrame(Option<Bytes>);

impl http_body::Body for SingleFrame {
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

/// A live stream with the bytes not decoded yet, because a frame may carry several messages.
struct LiveStream(Body, BytesMut);

impl LiveStream {
    /// Returns the next entry and skips heartbeats.
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

/// Sends messages to the chat of a class and reads its streams. Both numbers come from the environment, so
/// that the difference of two runs is the cost of the messages or of the streams.
#[test]
#[ignore = "cargo xtask instructions runs it under callgrind"]
fn messages() {
    let number = |name: &str| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let (count, subscribers) = (number("PARTA_MESSAGES"), number("PARTA_STREAMS"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let school = School::open(TestDatabase::sqlite()).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let (org_id, chat_id) = (school.org.to_string(), class.to_string());
        let credential = format!("Bearer {}", school.fixture.token(school.org, school.pupil));
        let credential = http::HeaderValue::from_str(&credential).unwrap();
        let mut service = school.fixture.service.clone();

        let mut streams = Vec::new();
        for _ in 0..subscribers {
            let subscribe = pb::SubscribeChatsRequest {
                org_id: org_id.clone(),
                cursors: Vec::new(),
            };
            let open = request("LiveService/SubscribeChats", &credential, &subscribe);
            let mut body = service.call(open).await.unwrap().into_body();
            // The first response has the cursors.
            assert!(frame(&mut body).await.unwrap().is_data());
            streams.push(LiveStream(body, BytesMut::new()));
        }
        for n in 0..count {
            let message = pb::SendMessageRequest {
                request_id: new_uuid(&school.fixture).to_string(),
                org_id: org_id.clone(),
                chat_id: chat_id.clone(),
                text: format!("{n:0>200}"),
            };
            let send = request("MessageService/SendMessage", &credential, &message);
            let mut body = service.call(send).await.unwrap().into_body();
            let response = frame(&mut body).await.unwrap().into_data().unwrap();
            let response = pb::SendMessageResponse::decode(response.slice(5..)).unwrap();
            assert!(response.seq > 0);
            let trailers = frame(&mut body).await.unwrap().into_trailers().unwrap();
            assert_eq!(trailers["grpc-status"], "0");
            for stream in &mut streams {
                assert_eq!(stream.next().await.seq, response.seq);
            }
        }
        println!("{count} messages, each to {subscribers} streams");
    });
}
