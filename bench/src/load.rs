//! Load generators: typed clients in closed loops over plain tonic channels.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parta_ids::{Env, IdSource};
use parta_proto_chat::v1::{
    self as pb, live_service_client::LiveServiceClient, message_service_client::MessageServiceClient,
    subscribe_chats_response::Item,
};
use tokio::task::JoinSet;
use tonic::{Request, Streaming, metadata::MetadataValue, transport::Channel};

use crate::measure::{Numbers, quantile};

/// The text of a message, 200 bytes.
pub(crate) const TEXT: &str = "Завтра на первом уроке контрольная по алгебре, принесите тетради и чертёжные инструменты; начало в девять......";

/// Opens a connection.
#[expect(
    clippy::disallowed_methods,
    reason = "a load client uses none of Parta's client layers"
)]
pub(crate) async fn connect(address: &str) -> anyhow::Result<Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(address.to_owned())?;
    Ok(endpoint.tcp_nodelay(true).connect().await?)
}

/// Opens `count` connections, at most 512 at the same time: the listeners of the baselines have a backlog of
/// 1,024 connections.
pub(crate) async fn channels(address: &str, count: usize) -> anyhow::Result<Vec<Channel>> {
    let opening = (0..count).map(|_| connect(address));
    stream::iter(opening).buffered(512).try_collect().await
}

/// The organization and the token that a client calls with.
#[derive(Clone)]
pub(crate) struct Credential {
    org_id: String,
    authorization: MetadataValue<tonic::metadata::Ascii>,
}

impl Credential {
    pub(crate) fn new(org_id: &str, authorization: &str) -> anyhow::Result<Self> {
        Ok(Self {
            org_id: org_id.to_owned(),
            authorization: authorization.parse()?,
        })
    }

    pub(crate) fn request<T>(&self, body: T) -> Request<T> {
        let mut request = Request::new(body);
        request
            .metadata_mut()
            .insert("authorization", self.authorization.clone());
        request
    }
}

/// A client that sends messages to one chat, one after the other.
#[derive(Clone)]
pub(crate) struct Sender {
    api: MessageServiceClient<Channel>,
    credential: Credential,
    chat_id: String,
    ids: Arc<dyn IdSource>,
    last: Option<(String, i64)>,
    /// Sequence numbers of the messages sent in the last [`Load`].
    sent: Vec<i64>,
}

impl Sender {
    pub(crate) fn new(channel: Channel, credential: &Credential, chat_id: &str) -> Self {
        Self {
            api: MessageServiceClient::new(channel),
            credential: credential.clone(),
            chat_id: chat_id.to_owned(),
            ids: Env::system().ids,
            last: None,
            sent: Vec::new(),
        }
    }

    fn message(&self, request_id: String, text: &str) -> Request<pb::SendMessageRequest> {
        self.credential.request(pb::SendMessageRequest {
            request_id,
            org_id: self.credential.org_id.clone(),
            chat_id: self.chat_id.clone(),
            text: text.to_owned(),
        })
    }

    /// Sends one message and returns its sequence number.
    pub(crate) async fn send(&mut self, text: &str) -> Result<i64, tonic::Status> {
        let request_id = self.ids.uuid().to_string();
        let request = self.message(request_id.clone(), text);
        let seq = self.api.send_message(request).await?.into_inner().seq;
        self.last = Some((request_id, seq));
        Ok(seq)
    }

    /// Reads a page of the chat: the newest entries, or the entries after a sequence number.
    pub(crate) async fn page(
        &mut self,
        page_size: i32,
        after_seq: Option<i64>,
    ) -> Result<Vec<pb::Entry>, tonic::Status> {
        let request = self.credential.request(pb::ListEntriesRequest {
            org_id: self.credential.org_id.clone(),
            chat_id: self.chat_id.clone(),
            page_size,
            after_seq,
            ..pb::ListEntriesRequest::default()
        });
        Ok(self.api.list_entries(request).await?.into_inner().entries)
    }

    /// Repeats the last request and checks that it returns the same sequence number.
    async fn repeat_last(&mut self) -> anyhow::Result<()> {
        if let Some((request_id, seq)) = self.last.clone() {
            let request = self.message(request_id, TEXT);
            let again = self.api.send_message(request).await?.into_inner().seq;
            ensure!(
                again == seq,
                "a repeated request returned {again} instead of {seq}"
            );
        }
        Ok(())
    }

    /// Sequence numbers of the messages sent in the last [`Load`].
    pub(crate) fn sent(&self) -> &[i64] {
        &self.sent
    }
}

/// The result of a closed loop.
pub(crate) struct Load {
    pub(crate) seconds: f64,
    /// Latency of each operation, in microseconds, ascending.
    pub(crate) times: Vec<u32>,
}

impl Load {
    pub(crate) fn numbers(&self, cpu: Duration) -> Numbers {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let count = self.times.len() as f64;
        Numbers::from([
            ("rate", count / self.seconds),
            ("p50_ms", quantile(&self.times, 0.5) / 1e3),
            ("p99_ms", quantile(&self.times, 0.99) / 1e3),
            ("cpu_us", cpu.as_secs_f64() * 1e6 / count.max(1.0)),
        ])
    }
}

/// The operation that a worker repeats.
pub(crate) trait Work: Send + 'static {
    fn run_once(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Work for Sender {
    async fn run_once(&mut self) -> anyhow::Result<()> {
        let seq = self.send(TEXT).await?;
        self.sent.push(seq);
        Ok(())
    }
}

/// Runs all workers concurrently for `duration`. Each starts its next operation when the previous one ends.
pub(crate) async fn closed_loop<W: Work>(workers: &mut Vec<W>, duration: Duration) -> anyhow::Result<Load> {
    let begin = Instant::now();
    let end = begin + duration;
    let mut running = JoinSet::new();
    for (n, mut worker) in workers.drain(..).enumerate() {
        running.spawn(async move {
            let mut times = Vec::with_capacity(1 << 14);
            while Instant::now() < end {
                let start = Instant::now();
                worker.run_once().await?;
                times.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            anyhow::Ok((n, worker, times))
        });
    }
    let mut finished = Vec::new();
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        let (n, worker, worker_times) = done??;
        finished.push((n, worker));
        times.extend(worker_times);
    }
    let seconds = begin.elapsed().as_secs_f64();
    finished.sort_by_key(|(n, _)| *n);
    workers.extend(finished.into_iter().map(|(_, worker)| worker));
    times.sort_unstable();
    Ok(Load { seconds, times })
}

/// Sends for `duration` and checks the responses: the sequence numbers of a chat have no gap and no
/// duplicate, and repeated requests return the same number. `own_chats`: each sender has a chat of its own.
pub(crate) async fn send_for(
    senders: &mut Vec<Sender>,
    duration: Duration,
    own_chats: bool,
) -> anyhow::Result<Load> {
    for sender in senders.iter_mut() {
        sender.sent.clear();
    }
    let load = closed_loop(senders, duration).await?;
    if own_chats {
        for sender in senders.iter() {
            check_gapless(sender.sent.clone())?;
        }
    } else {
        check_gapless(senders.iter().flat_map(|s| s.sent.iter().copied()).collect())?;
    }
    for sender in senders.iter_mut() {
        sender.repeat_last().await?;
    }
    Ok(load)
}

/// Fails if sequence numbers have a gap or a duplicate.
pub(crate) fn check_gapless(mut seqs: Vec<i64>) -> anyhow::Result<()> {
    seqs.sort_unstable();
    let broken = seqs.windows(2).find(|w| w[0] + 1 != w[1]);
    ensure!(
        broken.is_none(),
        "sequence numbers with a gap or a duplicate: {broken:?}"
    );
    Ok(())
}

/// A live stream.
pub(crate) struct Reader {
    stream: Streaming<pb::SubscribeChatsResponse>,
    /// The last sequence number of each chat when the stream was opened.
    pub(crate) cursors: Vec<pb::ChatCursor>,
}

impl Reader {
    /// Opens a stream after these cursors, or after the newest entries without cursors, and waits until the
    /// server confirms it.
    pub(crate) async fn open(
        channel: Channel,
        credential: &Credential,
        cursors: Vec<pb::ChatCursor>,
    ) -> anyhow::Result<Self> {
        let request = credential.request(pb::SubscribeChatsRequest {
            org_id: credential.org_id.clone(),
            cursors,
        });
        let mut api = LiveServiceClient::new(channel);
        let mut stream = api.subscribe_chats(request).await?.into_inner();
        let first = stream.message().await?.context("an empty stream")?;
        let Some(Item::Started(started)) = first.item else {
            anyhow::bail!("the first item of the stream is not `started`");
        };
        Ok(Self {
            stream,
            cursors: started.cursors,
        })
    }

    pub(crate) async fn next(&mut self) -> anyhow::Result<pb::Entry> {
        loop {
            let response = self.stream.message().await?.context("the stream ended")?;
            if let Some(Item::Entry(entry)) = response.item {
                return Ok(entry);
            }
        }
    }

    /// Reads the entries of a chat up to the sequence number `to` and checks that they have no gap.
    pub(crate) async fn read_to(&mut self, chat_id: &str, from: i64, to: i64) -> anyhow::Result<()> {
        let mut seq = from;
        while seq < to {
            let entry = self.next().await?;
            if entry.chat_id == chat_id {
                ensure!(entry.seq == seq + 1, "entry {} after {seq}", entry.seq);
                seq = entry.seq;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_duplicates_are_rejected() {
        assert!(check_gapless(vec![4, 3, 5]).is_ok());
        assert!(check_gapless(vec![3, 5]).is_err());
        assert!(check_gapless(vec![3, 3, 4]).is_err());
    }

    #[test]
    fn text_has_two_hundred_bytes() {
        assert_eq!(TEXT.len(), 200);
    }
}
