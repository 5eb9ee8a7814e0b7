//! The cases that send messages: one sender, many senders, one chat, outsiders, SQLite, and new members.
//! docs/performance.md describes the cases and their variants.
use std::{future::Future, rc::Rc, time::Instant};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::{sync::Mutex, task::JoinSet};

use super::paced::{self, Peak};
use crate::{
    Options,
    baselines::{BareProcess, EchoProcess, pgbench, sqlite_rows},
    competitors,
    load::{Credential, Load, Reader, Sender, Work, channels, closed_loop, connect, send_for},
    measure::{Measured, Numbers, Variant, cpu, run_rounds},
    test_env::TestEnv,
};

type Senders = Rc<Mutex<Vec<Sender>>>;

/// Returns the run of a variant: all senders send for the duration of a round. The processor time is that of
/// `processes`.
fn sending<'a>(
    senders: &Senders,
    processes: Vec<u32>,
    options: &Options,
    check_responses: bool,
) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<Numbers>> + 'a>> + use<'a> {
    let (senders, duration) = (senders.clone(), options.duration());
    move || {
        let (senders, processes) = (senders.clone(), processes.clone());
        Box::pin(async move {
            let mut senders = senders.lock().await;
            let before = cpu(&processes);
            let load = if check_responses {
                send_for(&mut senders, duration, true).await?
            } else {
                closed_loop(&mut senders, duration).await?
            };
            Ok(load.numbers(cpu(&processes) - before))
        })
    }
}

/// Creates `count` senders for a baseline server, which ignores the credential and the chat.
async fn baseline_senders(address: &str, credential: &Credential, count: usize) -> anyhow::Result<Senders> {
    let channels = channels(address, count.div_ceil(16)).await?;
    let chat = "cht_01h455vb4pex5vsknk084sn02q";
    let sender = |n: usize| Some(Sender::new(channels.get(n / 16)?.clone(), credential, chat));
    let senders: Option<Vec<_>> = (0..count).map(sender).collect();
    Ok(Rc::new(Mutex::new(senders.context("no channel")?)))
}

pub(super) async fn one_sender(options: Options) -> anyhow::Result<Measured> {
    // Competitors start first, because the tokens of Parta are valid for ten minutes only.
    let competitor_variants = competitors::send(&options, 1).await?;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(1).await?;
    let url = test_env
        .chat_database
        .clone()
        .context("this case needs PostgreSQL")?;
    let senders: Senders = Rc::new(Mutex::new(test_env.senders(&people, 1).await?));
    let echo = EchoProcess::start().await?;
    let credential = test_env.credential(people.first().context("no person")?)?;
    let echo_senders = baseline_senders(&echo.address, &credential, 1).await?;
    let duration = options.duration();
    let mut variants = vec![
        Variant::new(
            "parta",
            sending(&senders, test_env.server.clone(), &options, true),
        ),
        Variant::new("echo", sending(&echo_senders, vec![echo.id()], &options, false)),
        Variant::new("pgbench", move || {
            let url = url.clone();
            async move { pgbench(&url, 1, 1, duration).await }
        }),
    ];
    variants.extend(competitor_variants);
    let measured = measure(&options, &test_env, &mut variants).await?;
    test_env.close().await;
    Ok(measured)
}

async fn measure(
    options: &Options,
    test_env: &TestEnv,
    variants: &mut [Variant<'_>],
) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir()?;
    run_rounds(options, folder.path(), &test_env.machine, variants).await
}

pub(super) async fn many_senders(options: Options) -> anyhow::Result<Measured> {
    let competitor_variants = competitors::send(&options, 64).await?;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(64).await?;
    let url = test_env
        .chat_database
        .clone()
        .context("this case needs PostgreSQL")?;
    let senders256 = test_env.senders(&people, 256).await?;
    let senders64: Senders = Rc::new(Mutex::new(senders256.iter().take(64).cloned().collect()));
    let senders256: Senders = Rc::new(Mutex::new(senders256));
    let credential = test_env.credential(people.first().context("no person")?)?;
    let echo = EchoProcess::start().await?;
    let bare = BareProcess::start(&test_env).await?;
    let echo_senders = baseline_senders(&echo.address, &credential, 64).await?;
    let bare_senders = baseline_senders(&bare.address, &credential, 256).await?;
    let duration = options.duration();
    let batch = url.clone();
    let peak = Rc::new(Peak::default());
    let recording_peak = |variant: usize, senders: &Senders| {
        let (mut send, peak) = (
            sending(senders, test_env.server.clone(), &options, true),
            peak.clone(),
        );
        move || {
            let (sent, peak) = (send(), peak.clone());
            async move { sent.await.inspect(|numbers| peak.record(variant, numbers)) }
        }
    };
    let server = test_env.server.clone();
    let mut variants = vec![
        Variant::new("parta64", recording_peak(0, &senders64)),
        Variant::new("parta256", recording_peak(1, &senders256)),
        Variant::new("half", move || {
            let (senders64, peak, server) = (senders64.clone(), peak.clone(), server.clone());
            async move {
                let before = cpu(&server);
                let load = paced::send(&mut *senders64.lock().await, peak.half(), duration).await?;
                Ok(load.numbers(cpu(&server) - before))
            }
        }),
        Variant::new("echo64", sending(&echo_senders, vec![echo.id()], &options, false)),
        Variant::new(
            "bare256",
            sending(&bare_senders, vec![bare.id()], &options, false),
        ),
        Variant::new("pgbench64", move || {
            let url = url.clone();
            async move { pgbench(&url, 64, 1, duration).await }
        }),
        Variant::new("unnest64", move || {
            let url = batch.clone();
            async move { pgbench(&url, 1, 64, duration).await }
        }),
    ];
    variants.extend(competitor_variants);
    let measured = measure(&options, &test_env, &mut variants).await?;
    test_env.close().await;
    Ok(measured)
}

pub(super) async fn room(options: Options) -> anyhow::Result<Measured> {
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(64).await?;
    let own: Senders = Rc::new(Mutex::new(test_env.senders(&people, 64).await?));
    let in_room: Vec<_> = people.iter().take(16).collect();
    let chat = test_env.chat("Общая беседа", &in_room).await?;
    let channels = channels(&test_env.address, 2).await?;
    let mut senders = Vec::new();
    for person in &in_room {
        let channel = channels.first().context("no channel")?.clone();
        senders.push(Sender::new(channel, &test_env.credential(person)?, &chat));
    }
    let senders: Senders = Rc::new(Mutex::new(senders));
    let (env, duration) = (&test_env, options.duration());
    let channel = channels.get(1).context("no channel")?;
    let mut variants = vec![
        Variant::new("room", || {
            let (senders, chat, in_room) = (senders.clone(), chat.clone(), in_room.clone());
            async move {
                let mut readers = Vec::new();
                for person in &in_room {
                    let credential = env.credential(person)?;
                    readers.push(Reader::open(channel.clone(), &credential, Vec::new()).await?);
                }
                let head = readers.first().and_then(|reader| {
                    let cursor = reader.cursors.iter().find(|c| c.chat_id == chat)?;
                    Some(cursor.seq)
                });
                let head = head.context("no cursor")?;
                let (last_seq_sender, last_seq_receiver) = tokio::sync::watch::channel(None::<i64>);
                let mut reading = JoinSet::new();
                for mut reader in readers {
                    let (chat, mut last) = (chat.clone(), last_seq_receiver.clone());
                    reading.spawn(async move {
                        let mut seq = head;
                        loop {
                            let end = *last.borrow_and_update();
                            if end.is_some_and(|end| seq >= end) {
                                return anyhow::Ok(());
                            }
                            tokio::select! {
                                entry = reader.next() => {
                                    let entry = entry?;
                                    if entry.chat_id == chat {
                                        ensure!(entry.seq == seq + 1, "entry {} after {seq}", entry.seq);
                                        seq = entry.seq;
                                    }
                                }
                                changed = last.changed() => changed?,
                            }
                        }
                    });
                }
                let mut senders = senders.lock().await;
                let before = cpu(&env.server);
                let begin = Instant::now();
                let mut load = send_for(&mut senders, duration, false).await?;
                last_seq_sender.send_replace(senders.iter().flat_map(|s| s.sent().last().copied()).max());
                while let Some(done) = reading.join_next().await {
                    done??;
                }
                load.seconds = begin.elapsed().as_secs_f64();
                Ok(load.numbers(cpu(&env.server) - before))
            }
        }),
        Variant::new("own", sending(&own, test_env.server.clone(), &options, true)),
    ];
    variants.extend(competitors::room(&options, 16).await?);
    let measured = measure(&options, &test_env, &mut variants).await?;
    drop(variants);
    test_env.close().await;
    Ok(measured)
}

/// A sender who does not participate in the chat.
struct Outsider(Sender);

impl Work for Outsider {
    async fn run_once(&mut self) -> anyhow::Result<()> {
        let refused = self
            .0
            .send("Можно мне в беседу?")
            .await
            .err()
            .context("an outsider's message was accepted")?;
        ensure!(refused.code() == tonic::Code::NotFound, "{refused}");
        Ok(())
    }
}

pub(super) async fn refused(options: Options) -> anyhow::Result<Measured> {
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(17).await?;
    let (owner, others) = people.split_first().context("no person")?;
    let chat = test_env.chat("Не для всех", &[owner]).await?;
    let channel = connect(&test_env.address).await?;
    let mut outsiders = Vec::new();
    for person in others {
        outsiders.push(Outsider(Sender::new(
            channel.clone(),
            &test_env.credential(person)?,
            &chat,
        )));
    }
    let echo = EchoProcess::start().await?;
    let echo_senders = baseline_senders(&echo.address, &test_env.credential(owner)?, 16).await?;
    let outsiders = Rc::new(Mutex::new(outsiders));
    let (server, duration) = (test_env.server.clone(), options.duration());
    let mut variants = vec![
        Variant::new("parta", || {
            let (outsiders, server) = (outsiders.clone(), server.clone());
            async move {
                let before = cpu(&server);
                let load: Load = closed_loop(&mut *outsiders.lock().await, duration).await?;
                Ok(load.numbers(cpu(&server) - before))
            }
        }),
        Variant::new("echo", sending(&echo_senders, vec![echo.id()], &options, false)),
    ];
    variants.extend(competitors::refused(&options, 16).await?);
    let measured = measure(&options, &test_env, &mut variants).await?;
    drop(variants);
    test_env.close().await;
    Ok(measured)
}

pub(super) async fn embedded(options: Options) -> anyhow::Result<Measured> {
    let test_env = TestEnv::open(&options, &[]).await?;
    let senders: Senders = Rc::new(Mutex::new(
        test_env.senders(&test_env.pupils(64).await?, 64).await?,
    ));
    let naive = TestEnv::open(&options, &[("chat.send_batch", "1")]).await?;
    let naive_senders: Senders = Rc::new(Mutex::new(naive.senders(&naive.pupils(64).await?, 64).await?));
    let duration = options.duration();
    let mut variants = vec![
        Variant::new(
            "parta",
            sending(&senders, test_env.server.clone(), &options, true),
        ),
        Variant::new(
            "naive",
            sending(&naive_senders, naive.server.clone(), &options, true),
        ),
        Variant::new("raw", move || sqlite_rows(duration)),
    ];
    let folder = tempfile::tempdir()?;
    let measured = run_rounds(&options, folder.path(), &test_env.machine, &mut variants).await?;
    test_env.close().await;
    naive.close().await;
    Ok(measured)
}

pub(super) async fn invite(options: Options) -> anyhow::Result<Measured> {
    const JOINS: usize = 64;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(64).await?;
    let senders: Senders = Rc::new(Mutex::new(test_env.senders(&people, 64).await?));
    let env = &test_env;
    let mut variants = vec![
        Variant::new("parta", || async move {
            let invitation = json!({"role": "ROLE_PUPIL", "unit_id": env.class, "max_uses": 60});
            let mut new_members = Vec::new();
            for _ in 0..JOINS.div_ceil(60) {
                let link = env.school.link(&env.teacher, invitation.clone()).await;
                for _ in 0..60.min(JOINS - new_members.len()) {
                    let mut account = env.suite.newcomer("Новый Ученик").await;
                    account.client = account.client.on_its_own();
                    let joiner = account.joiner(&link).await;
                    new_members.push((account, joiner, link.clone()));
                }
            }
            let before = cpu(&env.server);
            let begin = Instant::now();
            let joining = new_members.into_iter().map(|(account, joiner, link)| async move {
                let start = Instant::now();
                let accept = json!({"link_token": link});
                let accepted = joiner.must("InvitationService/AcceptInvitation", accept).await;
                let request = accepted["join_request_id"].as_str().context("no request")?;
                env.teacher.decide(request, true).await;
                let person = account.enter(accepted["org_id"].as_str().context("no id")?).await;
                // The chat service adds the new member when it reads the feed. The client passes the
                // consistency token, so the call waits for that.
                let list = person
                    .client
                    .must("ChatService/ListChats", json!({"page_size": 50}))
                    .await;
                let chats = list["chats"].as_array().context("no chats")?;
                let class = chats
                    .iter()
                    .find(|c| c["kind"] == json!("CHAT_KIND_CLASS_PUPILS"));
                let class = class.context("the new member is not in the chat of the class")?;
                let hello = json!({"chat_id": class["id"], "text": "Всем привет"});
                person.client.must("MessageService/SendMessage", hello).await;
                anyhow::Ok(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX))
            });
            let mut times: Vec<u32> = stream::iter(joining).buffer_unordered(16).try_collect().await?;
            times.sort_unstable();
            let load = Load {
                seconds: begin.elapsed().as_secs_f64(),
                times,
            };
            Ok(load.numbers(cpu(&env.server) - before))
        }),
        Variant::new(
            "sends",
            sending(&senders, test_env.server.clone(), &options, true),
        ),
    ];
    variants.extend(competitors::invite(&options, JOINS).await?);
    let measured = measure(&options, &test_env, &mut variants).await?;
    drop(variants);
    test_env.close().await;
    Ok(measured)
}
