//! One message for many: when the last has it, how many deliveries a second, and what one costs.
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
    delivery::Socket,
    load::{Reader, Sender, TEXT, channels, connect},
    measure::{Measured, Numbers, Side, alternate, cpu},
    test_env::TestEnv,
};

/// Sends one message to everybody and waits for the response.
pub(crate) trait Tell {
    fn tell(&mut self) -> impl Future<Output = anyhow::Result<()>>;
}

/// Waits for the next message.
pub(crate) trait Hear: Send + 'static {
    fn hear(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Tell for Sender {
    async fn tell(&mut self) -> anyhow::Result<()> {
        self.send(TEXT).await?;
        Ok(())
    }
}

impl Hear for Reader {
    async fn hear(&mut self) -> anyhow::Result<()> {
        self.next().await?;
        Ok(())
    }
}

/// A sender, those who listen, and the processes between them.
pub(crate) struct Audience<S, R> {
    people: Mutex<(S, Vec<R>)>,
    processes: Vec<u32>,
}

impl<S: Tell, R: Hear> Audience<S, R> {
    pub(crate) fn new(sender: S, listeners: Vec<R>, processes: Vec<u32>) -> Self {
        Self {
            people: Mutex::new((sender, listeners)),
            processes,
        }
    }

    /// Single messages whose last arrival is timed, then a burst whose deliveries are counted.
    pub(crate) async fn spread(&self) -> anyhow::Result<Numbers> {
        let (sender, listeners) = &mut *self.people.lock().await;
        let (numbers, back) = spread(sender, std::mem::take(listeners), &self.processes).await?;
        *listeners = back;
        Ok(numbers)
    }
}

async fn spread<S: Tell, R: Hear>(
    sender: &mut S,
    listeners: Vec<R>,
    processes: &[u32],
) -> anyhow::Result<(Numbers, Vec<R>)> {
    const SINGLE: usize = 10;
    let count = listeners.len();
    // Enough deliveries for the clock of processor time, and not too many for a round.
    let burst = (100_000 / count.max(1)).clamp(10, 50);
    let begin = Instant::now();
    let arrived = Arc::new(std::sync::Mutex::new(vec![0_u32; SINGLE]));
    let (tell, mut told) = tokio::sync::mpsc::channel::<()>(count);
    let mut listening = JoinSet::new();
    for mut listener in listeners {
        let (arrived, tell) = (arrived.clone(), tell.clone());
        listening.spawn(async move {
            for n in 0..SINGLE {
                listener.hear().await?;
                let now = u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX);
                if let Some(last) = arrived
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .get_mut(n)
                {
                    *last = now.max(*last);
                }
                tell.send(()).await?;
            }
            drop(tell);
            for _ in 0..burst {
                listener.hear().await?;
            }
            anyhow::Ok(listener)
        });
    }
    drop(tell);
    let mut lasts = Vec::new();
    for n in 0..SINGLE {
        let start = u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX);
        sender.tell().await?;
        for _ in 0..count {
            told.recv().await.context("a listener ended")?;
        }
        let arrived = arrived
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(n)
            .copied();
        lasts.push(f64::from(arrived.unwrap_or_default() - start) / 1e3);
    }
    let before = cpu(processes);
    let start = Instant::now();
    for _ in 0..burst {
        sender.tell().await?;
    }
    let mut back = Vec::with_capacity(count);
    while let Some(done) = listening.join_next().await {
        back.push(done??);
    }
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let deliveries = (burst * count) as f64;
    let numbers = Numbers::from([
        ("last_ms", crate::measure::median(&mut lasts)),
        ("rate", deliveries / seconds),
        (
            "cpu_us",
            (cpu(processes) - before).as_secs_f64() * 1e6 / deliveries,
        ),
    ]);
    Ok((numbers, back))
}

/// A school of its own, whose administrator writes in its channel.
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

    /// Its sender and live streams of its people over so many connections, all with new tokens.
    async fn audience(&self, streams: usize, connections: usize) -> anyhow::Result<Audience<Sender, Reader>> {
        let test_env = &self.test_env;
        let people = test_env.renew(&self.people).await;
        let administrator = test_env
            .renew(std::slice::from_ref(&test_env.school.administrator))
            .await
            .pop()
            .context("the administrator")?;
        let channels = channels(&test_env.address, connections).await?;
        let readers = open_all(&channels, &credentials(test_env, &people)?, streams).await?;
        let administrator = test_env.credential(&administrator)?;
        let sender = Sender::new(
            connect(&test_env.address).await?,
            &administrator,
            &self.channel_id,
        );
        Ok(Audience::new(sender, readers, test_env.server.clone()))
    }
}

fn side<'a, S: Tell + 'a, R: Hear>(name: &'static str, audience: Audience<S, R>) -> Side<'a> {
    let audience = Rc::new(audience);
    Side::new(name, move || {
        let audience = audience.clone();
        async move { audience.spread().await }
    })
}

/// Streams of a limit that speaks as the suite does.
async fn like(
    limit: &EchoProcess,
    school: &TestEnv,
    streams: usize,
) -> anyhow::Result<Audience<Sender, Reader>> {
    let anybody = school.credential(&school.teacher)?;
    let channels = channels(&limit.address, streams).await?;
    let readers = open_all(&channels, std::slice::from_ref(&anybody), streams).await?;
    let chat = "cht_01h455vb4pex5vsknk084sn02q";
    let sender = Sender::new(connect(&limit.address).await?, &anybody, chat);
    Ok(Audience::new(sender, readers, vec![limit.id()]))
}

async fn plain(limit: &EchoProcess, sockets: usize) -> anyhow::Result<Audience<Socket, Socket>> {
    let opening = (0..sockets).map(|_| Socket::listener(&limit.address));
    let listeners = stream::iter(opening).buffer_unordered(64).try_collect().await?;
    let sender = Socket::sender(&limit.address).await?;
    Ok(Audience::new(sender, listeners, vec![limit.id()]))
}

pub(super) async fn fanout(options: Options) -> anyhow::Result<Measured> {
    const STREAMS: usize = 1_000;
    // First, because some take minutes to let a thousand in, and streams of ours end with their tokens.
    let others = competitors::fanout(&options, STREAMS).await?;
    // With the usual heartbeat ten thousand streams look into the database so often that this would be what
    // is measured.
    let crowd = School::open(&options, 100, &[("chat.heartbeat_seconds", "60")]).await?;
    let school = School::open(&options, STREAMS, &[]).await?;
    let echo = EchoProcess::start().await?;
    let shared = EchoProcess::start_as("shared").await?;
    let raw = EchoProcess::start_as("sockets").await?;
    let ours = school.audience(STREAMS, STREAMS).await?;
    let echoed = like(&echo, &school.test_env, STREAMS).await?;
    let bytes = like(&shared, &school.test_env, STREAMS).await?;
    let sockets = plain(&raw, STREAMS).await?;
    let crowd = Rc::new(crowd);
    let crowded = crowd.clone();
    let mut sides = vec![
        side("ours", ours),
        // Its streams are there for its own side alone: the others are not to be measured beside what they
        // cost.
        Side::new("ours10k", move || {
            let crowd = crowded.clone();
            async move { crowd.audience(10 * STREAMS, 100).await?.spread().await }
        }),
        side("echo", echoed),
        side("shared", bytes),
        side("sockets", sockets),
    ];
    sides.extend(others);
    let folder = tempfile::tempdir()?;
    let measured = alternate(&options, folder.path(), &school.test_env.machine, &mut sides).await?;
    drop(sides);
    school.test_env.close().await;
    let crowd = Rc::into_inner(crowd).context("a side still has it")?;
    crowd.test_env.close().await;
    Ok(measured)
}
