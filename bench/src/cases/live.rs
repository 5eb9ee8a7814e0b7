//! Listening: what an idle stream holds, how fast many open or come back.
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
    measure::{Machine, Measured, Numbers, Side, alternate, cpu},
    test_env::{TestEnv, postmaster},
};

/// Opens a stream for each of these, so many at once.
pub(super) async fn open_all(
    channels: &[Channel],
    people: &[Credential],
    count: usize,
) -> anyhow::Result<Vec<Reader>> {
    let opening = (0..count).map(|n| async move {
        let channel = channels.get(n % channels.len()).context("a channel")?.clone();
        let person = people.get(n % people.len()).context("somebody")?;
        Reader::open(channel, person, Vec::new()).await
    });
    stream::iter(opening).buffer_unordered(64).try_collect().await
}

/// With what these call.
pub(super) fn credentials(test_env: &TestEnv, people: &[Person]) -> anyhow::Result<Vec<Credential>> {
    people.iter().map(|person| test_env.credential(person)).collect()
}

pub(super) async fn idle(options: Options) -> anyhow::Result<Measured> {
    let options = &options;
    let mut sides = vec![
        Side::new("own", || hold(options, (5_000, 5_000))),
        Side::new("shared", || hold(options, (10_000, 100))),
        Side::new("echo_own", || hold_echo((5_000, 5_000))),
        Side::new("echo_shared", || hold_echo((10_000, 100))),
    ];
    sides.extend(competitors::idle(options, 5_000));
    let mut machine = Machine::default();
    if options.db == Some(Database::Postgres) {
        // The suites come and go with their sides; the server that all of them use stays.
        let url = std::env::var(parta_testkit::POSTGRES_URL).context(parta_testkit::POSTGRES_URL)?;
        machine.postmaster = Some(postmaster(&url).await?);
    }
    let folder = tempfile::tempdir()?;
    alternate(options, folder.path(), &machine, &mut sides).await
}

/// The memory that a fresh server uses for open streams on several connections, beyond that for none.
async fn hold(options: &Options, many: (usize, usize)) -> anyhow::Result<Numbers> {
    let test_env = TestEnv::open(options, &[]).await?;
    let people = test_env.pupils(50).await?;
    let credentials = credentials(&test_env, &people)?;
    let server = *test_env.server.first().context("a server")?;
    let numbers = growth(&test_env.address, server, &credentials, many).await?;
    test_env.close().await;
    Ok(numbers)
}

async fn hold_echo(many: (usize, usize)) -> anyhow::Result<Numbers> {
    let echo = EchoProcess::start().await?;
    let anybody = Credential::new("org_01h455vb4pex5vsknk084sn02q", "Bearer nobody")?;
    growth(&echo.address, echo.id(), &[anybody], many).await
}

async fn growth(
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
    let (world_ref, people) = (&test_env, people.as_slice());
    let mut sides = vec![Side::new("ours", || async move {
        // Each time anew: beside a peer that takes minutes a round the tokens of the beginning would end.
        let people = world_ref.renew(people).await;
        let credentials = &credentials(world_ref, &people)?;
        let channels = channels(&world_ref.address, 100).await?;
        let before = cpu(&world_ref.server);
        let begin = Instant::now();
        let readers = open_all(&channels, credentials, STREAMS).await?;
        let seconds = begin.elapsed().as_secs_f64();
        ensure!(readers.len() == STREAMS);
        let cpu_us = (cpu(&world_ref.server) - before).as_secs_f64() * 1e6 / 1e3;
        Ok(Numbers::from([("seconds", seconds), ("cpu_us", cpu_us)]))
    })];
    sides.extend(competitors::open(&options, STREAMS).await?);
    let folder = tempfile::tempdir()?;
    let measured = alternate(&options, folder.path(), &test_env.machine, &mut sides).await?;
    drop(sides);
    test_env.close().await;
    Ok(measured)
}

pub(super) async fn storm(options: Options) -> anyhow::Result<Measured> {
    const PEOPLE: usize = 500;
    const STREAMS: usize = 5_000;
    const MISSED: usize = 20;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(PEOPLE).await?;
    let people = test_env.renew(&people).await;
    let channel_id = test_env.channel().await?;
    let administrator = test_env
        .renew(std::slice::from_ref(&test_env.school.administrator))
        .await;
    let administrator = test_env.credential(administrator.first().context("the administrator")?)?;
    let credentials = Rc::new(credentials(&test_env, &people)?);
    let senders = test_env.senders(&people, 16).await?;
    let senders = Rc::new(Mutex::new(senders));
    let world_ref = &test_env;
    let mut sides = [Side::new("ours", || {
        let (credentials, channel_id, senders) = (credentials.clone(), channel_id.clone(), senders.clone());
        let administrator = administrator.clone();
        async move {
            let channels = channels(&world_ref.address, 100).await?;
            let mut sender = Sender::new(connect(&world_ref.address).await?, &administrator, &channel_id);
            let first = sender.send(TEXT).await?;
            for _ in 0..MISSED {
                sender.send(TEXT).await?;
            }
            // About a thousand messages a second flow meanwhile, in chats of their own.
            let (stop, stopped) = tokio::sync::watch::channel(false);
            let mut flowing = JoinSet::new();
            let mut all = senders.lock().await;
            for mut sender in all.drain(..) {
                let stopped = stopped.clone();
                flowing.spawn(async move {
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
            let end = first + i64::try_from(MISSED)?;
            let (channels, credentials, channel) = (&channels, &credentials, channel_id.as_str());
            let coming = (0..STREAMS).map(|n| async move {
                let cursor = parta_proto::parta::chat::v1::ChatCursor {
                    chat_id: channel.to_owned(),
                    seq: first,
                };
                let http = channels.get(n % channels.len()).context("a channel")?.clone();
                let person = credentials.get(n % credentials.len()).context("somebody")?;
                let mut reader = Reader::open(http, person, vec![cursor]).await?;
                reader.read_to(channel, first, end).await?;
                anyhow::Ok(reader)
            });
            let readers: Vec<_> = stream::iter(coming).buffer_unordered(256).try_collect().await?;
            let seconds = begin.elapsed().as_secs_f64();
            ensure!(readers.len() == STREAMS);
            stop.send_replace(true);
            let mut sent = 0;
            while let Some(done) = flowing.join_next().await {
                let (sender, mine) = done??;
                all.push(sender);
                sent += mine;
            }
            Ok(Numbers::from([
                ("seconds", seconds),
                ("messages_per_second", f64::from(sent) / seconds),
            ]))
        }
    })];
    let folder = tempfile::tempdir()?;
    let measured = alternate(&options, folder.path(), &test_env.machine, &mut sides).await?;
    drop(sides);
    test_env.close().await;
    Ok(measured)
}
