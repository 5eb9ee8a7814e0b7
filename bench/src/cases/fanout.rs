//! The case `fanout`: time until the last of many streams has a message, deliveries per second, CPU per
//! delivery.
use std::{rc::Rc, sync::Arc, time::Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parta_integration_tests::Person;
use tokio::{sync::Mutex, task::JoinSet};

use super::live::{credentials, open_all};
use crate::{
    Options,
    baselines::EchoProcess,
    competitors,
    delivery::{Publish, Receive, Socket},
    load::{Reader, Sender, TEXT, channels, connect},
    measure::{Measured, Numbers, Variant, cpu, run_rounds},
    test_env::TestEnv,
};

impl Publish for Sender {
    async fn publish(&mut self) -> anyhow::Result<()> {
        self.send(TEXT).await?;
        Ok(())
    }
}

impl Receive for Reader {
    async fn receive(&mut self) -> anyhow::Result<()> {
        self.next().await?;
        Ok(())
    }
}

/// A sender, the receivers of its messages, and the server processes between them.
pub(crate) struct FanoutGroup<S, R> {
    clients: Mutex<(S, Vec<R>)>,
    processes: Vec<u32>,
}

impl<S: Publish, R: Receive> FanoutGroup<S, R> {
    pub(crate) fn new(sender: S, receivers: Vec<R>, processes: Vec<u32>) -> Self {
        Self {
            clients: Mutex::new((sender, receivers)),
            processes,
        }
    }

    /// Measures the last arrival of single messages, then the deliveries per second of a burst.
    pub(crate) async fn measure_fanout(&self) -> anyhow::Result<Numbers> {
        let (sender, receivers) = &mut *self.clients.lock().await;
        let (numbers, finished) = measure_fanout(sender, std::mem::take(receivers), &self.processes).await?;
        *receivers = finished;
        Ok(numbers)
    }
}

async fn measure_fanout<S: Publish, R: Receive>(
    sender: &mut S,
    receivers: Vec<R>,
    processes: &[u32],
) -> anyhow::Result<(Numbers, Vec<R>)> {
    const SINGLE_MESSAGES: usize = 10;
    let count = receivers.len();
    // Processor time has a resolution of 10 ms, which needs many deliveries. Too many would take too long.
    let burst = (100_000 / count.max(1)).clamp(10, 50);
    let begin = Instant::now();
    let arrived = Arc::new(std::sync::Mutex::new(vec![0_u32; SINGLE_MESSAGES]));
    let (notify, mut received) = tokio::sync::mpsc::channel::<()>(count);
    let mut receiving = JoinSet::new();
    for mut receiver in receivers {
        let (arrived, notify) = (arrived.clone(), notify.clone());
        receiving.spawn(async move {
            for n in 0..SINGLE_MESSAGES {
                receiver.receive().await?;
                let now = u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX);
                if let Some(last) = arrived
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .get_mut(n)
                {
                    *last = now.max(*last);
                }
                notify.send(()).await?;
            }
            drop(notify);
            for _ in 0..burst {
                receiver.receive().await?;
            }
            anyhow::Ok(receiver)
        });
    }
    drop(notify);
    let mut last_arrivals = Vec::new();
    for n in 0..SINGLE_MESSAGES {
        let start = u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX);
        sender.publish().await?;
        for _ in 0..count {
            received.recv().await.context("a receiver ended early")?;
        }
        let arrived = arrived
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(n)
            .copied();
        last_arrivals.push(f64::from(arrived.unwrap_or_default() - start) / 1e3);
    }
    let before = cpu(processes);
    let start = Instant::now();
    for _ in 0..burst {
        sender.publish().await?;
    }
    let mut finished = Vec::with_capacity(count);
    while let Some(joined) = receiving.join_next().await {
        finished.push(joined??);
    }
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let deliveries = (burst * count) as f64;
    let numbers = Numbers::from([
        ("last_ms", crate::measure::median(&mut last_arrivals)),
        ("rate", deliveries / seconds),
        (
            "cpu_us",
            (cpu(processes) - before).as_secs_f64() * 1e6 / deliveries,
        ),
    ]);
    Ok((numbers, finished))
}

/// A server with one school, whose administrator sends to the school's channel.
struct School {
    test_env: TestEnv,
    people: Vec<Person>,
    channel_id: String,
}

impl School {
    async fn open(options: &Options, people: usize, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let test_env = TestEnv::open(options, settings).await?;
        let people = test_env.pupils(people).await?;
        let channel_id = test_env.channel().await?;
        Ok(Self {
            test_env,
            people,
            channel_id,
        })
    }

    /// Opens the sender and the streams of the members over `connections`, all with new tokens.
    async fn fanout_group(
        &self,
        streams: usize,
        connections: usize,
    ) -> anyhow::Result<FanoutGroup<Sender, Reader>> {
        let test_env = &self.test_env;
        let people = test_env.renew(&self.people).await;
        let administrator = test_env
            .renew(std::slice::from_ref(&test_env.school.administrator))
            .await
            .pop()
            .context("no administrator")?;
        let channels = channels(&test_env.address, connections).await?;
        let readers = open_all(&channels, &credentials(test_env, &people)?, streams).await?;
        let administrator = test_env.credential(&administrator)?;
        let sender = Sender::new(
            connect(&test_env.address).await?,
            &administrator,
            &self.channel_id,
        );
        Ok(FanoutGroup::new(sender, readers, test_env.server.clone()))
    }
}

fn variant<'a, S: Publish + 'a, R: Receive>(
    name: &'static str,
    fanout_group: FanoutGroup<S, R>,
) -> Variant<'a> {
    let fanout_group = Rc::new(fanout_group);
    Variant::new(name, move || {
        let fanout_group = fanout_group.clone();
        async move { fanout_group.measure_fanout().await }
    })
}

/// Opens streams to a baseline that implements the API of chat.
async fn grpc_group(
    baseline: &EchoProcess,
    school: &TestEnv,
    streams: usize,
) -> anyhow::Result<FanoutGroup<Sender, Reader>> {
    let credential = school.credential(&school.teacher)?;
    let channels = channels(&baseline.address, streams).await?;
    let readers = open_all(&channels, std::slice::from_ref(&credential), streams).await?;
    let chat = "cht_01h455vb4pex5vsknk084sn02q";
    let sender = Sender::new(connect(&baseline.address).await?, &credential, chat);
    Ok(FanoutGroup::new(sender, readers, vec![baseline.id()]))
}

async fn socket_group(
    baseline: &EchoProcess,
    socket_receivers: usize,
) -> anyhow::Result<FanoutGroup<Socket, Socket>> {
    let opening = (0..socket_receivers).map(|_| Socket::receiver(&baseline.address));
    let receivers = stream::iter(opening).buffer_unordered(64).try_collect().await?;
    let sender = Socket::sender(&baseline.address).await?;
    Ok(FanoutGroup::new(sender, receivers, vec![baseline.id()]))
}

pub(super) async fn fanout(options: Options) -> anyhow::Result<Measured> {
    const STREAMS: usize = 1_000;
    // Competitors start first: some need minutes until 1,000 members have entered, and streams of Parta end
    // when their tokens expire.
    let competitor_variants = competitors::fanout(&options, STREAMS).await?;
    // With the default heartbeat the database queries of 10,000 idle streams would dominate the result.
    let large_school = School::open(&options, 100, &[("chat.heartbeat_seconds", "60")]).await?;
    let school = School::open(&options, STREAMS, &[]).await?;
    let echo = EchoProcess::start().await?;
    let shared = EchoProcess::start_as("shared").await?;
    let sockets_process = EchoProcess::start_as("sockets").await?;
    let parta_group = school.fanout_group(STREAMS, STREAMS).await?;
    let echo_group = grpc_group(&echo, &school.test_env, STREAMS).await?;
    let shared_group = grpc_group(&shared, &school.test_env, STREAMS).await?;
    let sockets = socket_group(&sockets_process, STREAMS).await?;
    let large_school = Rc::new(large_school);
    let large_school_ref = large_school.clone();
    let mut variants = vec![
        variant("parta", parta_group),
        // These streams are opened for this variant only, so that they do not slow down the other variants.
        Variant::new("parta10k", move || {
            let large_school = large_school_ref.clone();
            async move {
                large_school
                    .fanout_group(10 * STREAMS, 100)
                    .await?
                    .measure_fanout()
                    .await
            }
        }),
        variant("echo", echo_group),
        variant("shared", shared_group),
        variant("sockets", sockets),
    ];
    variants.extend(competitor_variants);
    let folder = tempfile::tempdir()?;
    let measured = run_rounds(&options, folder.path(), &school.test_env.machine, &mut variants).await?;
    drop(variants);
    school.test_env.close().await;
    let large_school = Rc::into_inner(large_school).context("a variant still uses the large school")?;
    large_school.test_env.close().await;
    Ok(measured)
}
