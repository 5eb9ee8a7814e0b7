//! Writing: alone, many, in one room, by outsiders, on SQLite, and after an invitation.
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
    measure::{Measured, Numbers, Side, alternate, cpu},
    test_env::TestEnv,
};

type Senders = Rc<Mutex<Vec<Sender>>>;

/// Everybody writes for so long; with the processor time that these processes took.
fn sending<'a>(
    senders: &Senders,
    processes: Vec<u32>,
    options: &Options,
    checked: bool,
) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = anyhow::Result<Numbers>> + 'a>> + use<'a> {
    let (senders, span) = (senders.clone(), options.span());
    move || {
        let (senders, processes) = (senders.clone(), processes.clone());
        Box::pin(async move {
            let mut senders = senders.lock().await;
            let before = cpu(&processes);
            let load = if checked {
                send_for(&mut senders, span, true).await?
            } else {
                closed_loop(&mut senders, span).await?
            };
            Ok(load.numbers(cpu(&processes) - before))
        })
    }
}

/// Senders like these on another server, which knows no chats.
async fn elsewhere(address: &str, like: &Credential, count: usize) -> anyhow::Result<Senders> {
    let channels = channels(address, count.div_ceil(16)).await?;
    let chat = "cht_01h455vb4pex5vsknk084sn02q";
    let sender = |n: usize| Some(Sender::new(channels.get(n / 16)?.clone(), like, chat));
    let senders: Option<Vec<_>> = (0..count).map(sender).collect();
    Ok(Rc::new(Mutex::new(senders.context("a channel")?)))
}

pub(super) async fn one(options: Options) -> anyhow::Result<Measured> {
    // Before the people of ours have their tokens, which last ten minutes.
    let others = competitors::send(&options, 1).await?;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(1).await?;
    let url = test_env.chat_database.clone().context("PostgreSQL")?;
    let senders: Senders = Rc::new(Mutex::new(test_env.senders(&people, 1).await?));
    let echo = EchoProcess::start().await?;
    let credential = test_env.credential(people.first().context("somebody")?)?;
    let echoed = elsewhere(&echo.address, &credential, 1).await?;
    let span = options.span();
    let mut sides = vec![
        Side::new("ours", sending(&senders, test_env.server.clone(), &options, true)),
        Side::new("echo", sending(&echoed, vec![echo.id()], &options, false)),
        Side::new("pgbench", move || {
            let url = url.clone();
            async move { pgbench(&url, 1, 1, span).await }
        }),
    ];
    sides.extend(others);
    let measured = finish(&options, &test_env, &mut sides).await?;
    test_env.close().await;
    Ok(measured)
}

async fn finish(options: &Options, test_env: &TestEnv, sides: &mut [Side<'_>]) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir()?;
    alternate(options, folder.path(), &test_env.machine, sides).await
}

pub(super) async fn many(options: Options) -> anyhow::Result<Measured> {
    let others = competitors::send(&options, 64).await?;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(64).await?;
    let url = test_env.chat_database.clone().context("PostgreSQL")?;
    let all = test_env.senders(&people, 256).await?;
    let few: Senders = Rc::new(Mutex::new(all.iter().take(64).cloned().collect()));
    let all: Senders = Rc::new(Mutex::new(all));
    let credential = test_env.credential(people.first().context("somebody")?)?;
    let echo = EchoProcess::start().await?;
    let bare = BareProcess::start(&test_env).await?;
    let echoed = elsewhere(&echo.address, &credential, 64).await?;
    let bared = elsewhere(&bare.address, &credential, 256).await?;
    let span = options.span();
    let batch = url.clone();
    let peak = Rc::new(Peak::default());
    let seen = |side: usize, senders: &Senders| {
        let (mut send, peak) = (
            sending(senders, test_env.server.clone(), &options, true),
            peak.clone(),
        );
        move || {
            let (sent, peak) = (send(), peak.clone());
            async move { sent.await.inspect(|numbers| peak.see(side, numbers)) }
        }
    };
    let server = test_env.server.clone();
    let mut sides = vec![
        Side::new("ours64", seen(0, &few)),
        Side::new("ours256", seen(1, &all)),
        Side::new("half", move || {
            let (few, peak, server) = (few.clone(), peak.clone(), server.clone());
            async move {
                let before = cpu(&server);
                let load = paced::send(&mut *few.lock().await, peak.half(), span).await?;
                Ok(load.numbers(cpu(&server) - before))
            }
        }),
        Side::new("echo64", sending(&echoed, vec![echo.id()], &options, false)),
        Side::new("bare256", sending(&bared, vec![bare.id()], &options, false)),
        Side::new("pgbench64", move || {
            let url = url.clone();
            async move { pgbench(&url, 64, 1, span).await }
        }),
        Side::new("unnest64", move || {
            let url = batch.clone();
            async move { pgbench(&url, 1, 64, span).await }
        }),
    ];
    sides.extend(others);
    let measured = finish(&options, &test_env, &mut sides).await?;
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
        let channel = channels.first().context("a channel")?.clone();
        senders.push(Sender::new(channel, &test_env.credential(person)?, &chat));
    }
    let senders: Senders = Rc::new(Mutex::new(senders));
    let (world_ref, span) = (&test_env, options.span());
    let channel = channels.get(1).context("a channel")?;
    let mut sides = vec![
        Side::new("room", || {
            let (senders, chat, in_room) = (senders.clone(), chat.clone(), in_room.clone());
            async move {
                let mut readers = Vec::new();
                for person in &in_room {
                    let credential = world_ref.credential(person)?;
                    readers.push(Reader::open(channel.clone(), &credential, Vec::new()).await?);
                }
                let head = readers.first().and_then(|reader| {
                    let cursor = reader.cursors.iter().find(|c| c.chat_id == chat)?;
                    Some(cursor.seq)
                });
                let head = head.context("a cursor")?;
                let (told, heard) = tokio::sync::watch::channel(None::<i64>);
                let mut reading = JoinSet::new();
                for mut reader in readers {
                    let (chat, mut last) = (chat.clone(), heard.clone());
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
                let before = cpu(&world_ref.server);
                let begin = Instant::now();
                let mut load = send_for(&mut senders, span, false).await?;
                told.send_replace(senders.iter().flat_map(|s| s.places().last().copied()).max());
                while let Some(done) = reading.join_next().await {
                    done??;
                }
                load.seconds = begin.elapsed().as_secs_f64();
                Ok(load.numbers(cpu(&world_ref.server) - before))
            }
        }),
        Side::new("own", sending(&own, test_env.server.clone(), &options, true)),
    ];
    sides.extend(competitors::room(&options, 16).await?);
    let measured = finish(&options, &test_env, &mut sides).await?;
    drop(sides);
    test_env.close().await;
    Ok(measured)
}

/// Somebody who writes where they may not.
struct Outsider(Sender);

impl Work for Outsider {
    async fn once(&mut self) -> anyhow::Result<()> {
        let refused = self.0.send("впустите").await.err().context("let in")?;
        ensure!(refused.code() == tonic::Code::NotFound, "{refused}");
        Ok(())
    }
}

pub(super) async fn refused(options: Options) -> anyhow::Result<Measured> {
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(17).await?;
    let (owner, others) = people.split_first().context("somebody")?;
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
    let echoed = elsewhere(&echo.address, &test_env.credential(owner)?, 16).await?;
    let outsiders = Rc::new(Mutex::new(outsiders));
    let (server, span) = (test_env.server.clone(), options.span());
    let mut sides = vec![
        Side::new("ours", || {
            let (outsiders, server) = (outsiders.clone(), server.clone());
            async move {
                let before = cpu(&server);
                let load: Load = closed_loop(&mut *outsiders.lock().await, span).await?;
                Ok(load.numbers(cpu(&server) - before))
            }
        }),
        Side::new("echo", sending(&echoed, vec![echo.id()], &options, false)),
    ];
    sides.extend(competitors::refused(&options, 16).await?);
    let measured = finish(&options, &test_env, &mut sides).await?;
    drop(sides);
    test_env.close().await;
    Ok(measured)
}

pub(super) async fn embedded(options: Options) -> anyhow::Result<Measured> {
    let test_env = TestEnv::open(&options, &[]).await?;
    let senders: Senders = Rc::new(Mutex::new(
        test_env.senders(&test_env.pupils(64).await?, 64).await?,
    ));
    let naive = TestEnv::open(&options, &[("chat.send_batch", "1")]).await?;
    let naively: Senders = Rc::new(Mutex::new(naive.senders(&naive.pupils(64).await?, 64).await?));
    let span = options.span();
    let mut sides = vec![
        Side::new("ours", sending(&senders, test_env.server.clone(), &options, true)),
        Side::new("naive", sending(&naively, naive.server.clone(), &options, true)),
        Side::new("raw", move || sqlite_rows(span)),
    ];
    let folder = tempfile::tempdir()?;
    let measured = alternate(&options, folder.path(), &test_env.machine, &mut sides).await?;
    test_env.close().await;
    naive.close().await;
    Ok(measured)
}

pub(super) async fn invite(options: Options) -> anyhow::Result<Measured> {
    const JOINS: usize = 64;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(64).await?;
    let senders: Senders = Rc::new(Mutex::new(test_env.senders(&people, 64).await?));
    let world_ref = &test_env;
    let mut sides = vec![
        Side::new("ours", || async move {
            let invitation = json!({"role": "ROLE_PUPIL", "unit_id": world_ref.class, "max_uses": 60});
            let mut ready = Vec::new();
            for _ in 0..JOINS.div_ceil(60) {
                let link = world_ref
                    .school
                    .link(&world_ref.teacher, invitation.clone())
                    .await;
                for _ in 0..60.min(JOINS - ready.len()) {
                    let mut account = world_ref.suite.newcomer("Новый Ученик").await;
                    account.client = account.client.on_its_own();
                    let joiner = account.joiner(&link).await;
                    ready.push((account, joiner, link.clone()));
                }
            }
            let before = cpu(&world_ref.server);
            let begin = Instant::now();
            let joining = ready.into_iter().map(|(account, joiner, link)| async move {
                let start = Instant::now();
                let accept = json!({"link_token": link});
                let accepted = joiner.must("InvitationService/AcceptInvitation", accept).await;
                let person = account.enter(accepted["org_id"].as_str().context("an id")?).await;
                // The derived chat follows by the feed; the client carries the consistency token along.
                let list = person
                    .client
                    .must("ChatService/ListChats", json!({"page_size": 50}))
                    .await;
                let chats = list["chats"].as_array().context("chats")?;
                let class = chats
                    .iter()
                    .find(|c| c["kind"] == json!("CHAT_KIND_CLASS_PUPILS"));
                let class = class.context("the newcomer is in the chat of the class")?;
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
            Ok(load.numbers(cpu(&world_ref.server) - before))
        }),
        Side::new(
            "sends",
            sending(&senders, test_env.server.clone(), &options, true),
        ),
    ];
    sides.extend(competitors::invite(&options, JOINS).await?);
    let measured = finish(&options, &test_env, &mut sides).await?;
    drop(sides);
    test_env.close().await;
    Ok(measured)
}
