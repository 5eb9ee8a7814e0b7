//! The cases with live streams: memory of idle streams, opening many streams, reconnecting many streams.
use std::{rc::Rc, time::Instant};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parta_integration_tests::{Person, resident_kib};
use tokio::{sync::Mutex, task::JoinSet};
use tonic::transport::Channel;

use crate::{
    Database, Options,
    baselines::EchoProcess,
    competitors,
    load::{Credential, Reader, Sender, TEXT, channels, connect},
    measure::{Machine, Measured, Numbers, Variant, cpu, run_rounds},
    test_env::{TestEnv, postmaster},
};

/// Opens `count` streams, at most 64 at the same time, over the channels and credentials in turn.
pub(super) async fn open_all(
    channels: &[Channel],
    people: &[Credential],
    count: usize,
) -> anyhow::Result<Vec<Reader>> {
    let opening = (0..count).map(|n| async move {
        let channel = channels.get(n % channels.len()).context("no channel")?.clone();
        let person = people.get(n % people.len()).context("no person")?;
        Reader::open(channel, person, Vec::new()).await
    });
    stream::iter(opening).buffer_unordered(64).try_collect().await
}

/// Returns the credentials of these people.
pub(super) fn credentials(test_env: &TestEnv, people: &[Person]) -> anyhow::Result<Vec<Credential>> {
    people.iter().map(|person| test_env.credential(person)).collect()
}

pub(super) async fn idle(options: Options) -> anyhow::Result<Measured> {
    let options = &options;
    let mut variants = vec![
        Variant::new("own", || measure_memory(options, (5_000, 5_000))),
        Variant::new("shared", || measure_memory(options, (10_000, 100))),
        Variant::new("echo_own", || measure_echo_memory((5_000, 5_000))),
        Variant::new("echo_shared", || measure_echo_memory((10_000, 100))),
    ];
    variants.extend(competitors::idle(options, 5_000));
    let mut machine = Machine::default();
    if options.db == Some(Database::Postgres) {
        // Each variant starts a Parta of its own. All of them use the same PostgreSQL server.
        let url = std::env::var(parta_testkit::POSTGRES_URL).context(parta_testkit::POSTGRES_URL)?;
        machine.postmaster = Some(postmaster(&url).await?);
    }
    let folder = tempfile::tempdir()?;
    run_rounds(options, folder.path(), &machine, &mut variants).await
}

/// Returns how much the memory of a new server grows when `(streams, connections)` are opened.
async fn measure_memory(options: &Options, counts: (usize, usize)) -> anyhow::Result<Numbers> {
    // All connections come from one address.
    let test_env = TestEnv::open(options, &[("server.max_connections_per_client", "8192")]).await?;
    let people = test_env.pupils(50).await?;
    let credentials = credentials(&test_env, &people)?;
    let server = *test_env.server.first().context("no server")?;
    let numbers = memory_growth(&test_env.address, server, &credentials, counts).await?;
    test_env.close().await;
    Ok(numbers)
}

async fn measure_echo_memory(counts: (usize, usize)) -> anyhow::Result<Numbers> {
    let echo = EchoProcess::start().await?;
    let credential = Credential::new("org_01h455vb4pex5vsknk084sn02q", "Bearer nobody")?;
    memory_growth(&echo.address, echo.id(), &[credential], counts).await
}

async fn memory_growth(
    address: &str,
    process: u32,
    people: &[Credential],
    (streams, connections): (usize, usize),
) -> anyhow::Result<Numbers> {
    let before = resident_kib(process);
    let channels = channels(address, connections).await?;
    let readers = open_all(&channels, people, streams).await?;
    let after = resident_kib(process);
    drop(readers);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let streams = streams as f64;
    Ok(Numbers::from([
        ("kib", (after - before).max(0.0) / streams),
        ("total_mib", after / 1024.0),
    ]))
}

pub(super) async fn open(options: Options) -> anyhow::Result<Measured> {
    const STREAMS: usize = 1_000;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(STREAMS).await?;
    let (env, people) = (&test_env, people.as_slice());
    let mut variants = vec![Variant::new("parta", || async move {
        // New tokens in each round, because a round of a competitor can take longer than a token is valid.
        let people = env.renew(people).await;
        let credentials = &credentials(env, &people)?;
        let channels = channels(&env.address, 100).await?;
        let before = cpu(&env.server);
        let begin = Instant::now();
        let readers = open_all(&channels, credentials, STREAMS).await?;
        let seconds = begin.elapsed().as_secs_f64();
        ensure!(readers.len() == STREAMS);
        let cpu_us = (cpu(&env.server) - before).as_secs_f64() * 1e6 / 1e3;
        Ok(Numbers::from([("seconds", seconds), ("cpu_us", cpu_us)]))
    })];
    variants.extend(competitors::open(&options, STREAMS).await?);
    let folder = tempfile::tempdir()?;
    let measured = run_rounds(&options, folder.path(), &test_env.machine, &mut variants).await?;
    drop(variants);
    test_env.close().await;
    Ok(measured)
}

pub(super) async fn storm(options: Options) -> anyhow::Result<Measured> {
    const PEOPLE: usize = 500;
    const STREAMS: usize = 5_000;
    const MISSED_ENTRIES: usize = 20;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(PEOPLE).await?;
    let people = test_env.renew(&people).await;
    let channel_id = test_env.channel().await?;
    let administrator = test_env
        .renew(std::slice::from_ref(&test_env.school.administrator))
        .await;
    let administrator = test_env.credential(administrator.first().context("no administrator")?)?;
    let credentials = Rc::new(credentials(&test_env, &people)?);
    let senders = test_env.senders(&people, 16).await?;
    let senders = Rc::new(Mutex::new(senders));
    let env = &test_env;
    let mut variants = [Variant::new("parta", || {
        let (credentials, channel_id, senders) = (credentials.clone(), channel_id.clone(), senders.clone());
        let administrator = administrator.clone();
        async move {
            let channels = channels(&env.address, 100).await?;
            let mut sender = Sender::new(connect(&env.address).await?, &administrator, &channel_id);
            let first = sender.send(TEXT).await?;
            for _ in 0..MISSED_ENTRIES {
                sender.send(TEXT).await?;
            }
            // Meanwhile 16 senders send about 1,000 messages per second in total, each to a chat of its own.
            let (stop, stopped) = tokio::sync::watch::channel(false);
            let mut background_senders = JoinSet::new();
            let mut idle_senders = senders.lock().await;
            for mut sender in idle_senders.drain(..) {
                let stopped = stopped.clone();
                background_senders.spawn(async move {
                    let mut tick = tokio::time::interval(std::time::Duration::from_millis(16));
                    let mut sent = 0_u32;
                    while !*stopped.borrow() {
                        tick.tick().await;
                        sender.send(TEXT).await?;
                        sent += 1;
                    }
                    anyhow::Ok((sender, sent))
                });
            }
            let begin = Instant::now();
            let end = first + i64::try_from(MISSED_ENTRIES)?;
            let (channels, credentials, channel) = (&channels, &credentials, channel_id.as_str());
            let reconnecting = (0..STREAMS).map(|n| async move {
                let cursor = parta_proto_chat::v1::ChatCursor {
                    chat_id: channel.to_owned(),
                    seq: first,
                    ..Default::default()
                };
                let http = channels.get(n % channels.len()).context("no channel")?.clone();
                let person = credentials.get(n % credentials.len()).context("no person")?;
                let mut reader = Reader::open(http, person, vec![cursor]).await?;
                reader.read_to(channel, first, end).await?;
                anyhow::Ok(reader)
            });
            let readers: Vec<_> = stream::iter(reconnecting)
                .buffer_unordered(256)
                .try_collect()
                .await?;
            let seconds = begin.elapsed().as_secs_f64();
            ensure!(readers.len() == STREAMS);
            stop.send_replace(true);
            let mut sent = 0;
            while let Some(done) = background_senders.join_next().await {
                let (sender, sent_by_one) = done??;
                idle_senders.push(sender);
                sent += sent_by_one;
            }
            Ok(Numbers::from([
                ("seconds", seconds),
                ("messages_per_second", f64::from(sent) / seconds),
            ]))
        }
    })];
    let folder = tempfile::tempdir()?;
    let measured = run_rounds(&options, folder.path(), &test_env.machine, &mut variants).await?;
    drop(variants);
    test_env.close().await;
    Ok(measured)
}
