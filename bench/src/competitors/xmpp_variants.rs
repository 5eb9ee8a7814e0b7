//! The sides of the peers: what the suite's side of a case does, as far as group chat over XMPP has it.
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use parta_integration_tests::resident_kib;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};

use super::{
    Peer,
    server::Server,
    xmpp::{self, Member, person},
};
use crate::{
    Options,
    load::{Load, TEXT, Work, closed_loop},
    measure::{Numbers, Side, cpu},
};

/// Those asked for whose group chat is XMPP's.
pub(super) fn speaking_xmpp(options: &Options) -> impl Iterator<Item = Peer> {
    options.peers().iter().copied().filter(|peer| peer.speaks_xmpp())
}

/// Signs people in, a few at a time.
pub(super) async fn members(server: &Server, people: std::ops::Range<usize>) -> anyhow::Result<Vec<Member>> {
    let entering = people.map(|n| async move { Member::enter(server.address, &person(n)).await });
    stream::iter(entering).buffered(16).try_collect().await
}

/// A member and the room that they write in.
pub(super) struct Talker {
    pub(super) member: Member,
    pub(super) room: String,
}

impl Work for Talker {
    async fn once(&mut self) -> anyhow::Result<()> {
        self.member.say(&self.room, TEXT).await
    }
}

/// A closed loop on a peer, with the processor time that it took.
pub(super) async fn measured<W: Work>(
    server: &Server,
    workers: &mut Vec<W>,
    options: &Options,
) -> anyhow::Result<(Load, Duration)> {
    let before = cpu(&server.processes);
    let load = closed_loop(workers, options.span()).await?;
    Ok((load, cpu(&server.processes) - before))
}

/// `count` senders, each in a room of their own.
pub(super) async fn send<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Side<'a>>> {
    let mut sides = Vec::new();
    for peer in speaking_xmpp(options) {
        let server = Server::start(peer).await?;
        let mut talkers = Vec::new();
        for (n, mut member) in members(&server, 0..count).await?.into_iter().enumerate() {
            let room = xmpp::room(&format!("own{n}"));
            member.make(&room, false).await?;
            talkers.push(Talker { member, room });
        }
        let shared = Rc::new((server, Mutex::new(talkers), options.clone()));
        sides.push(Side::new(peer.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, talkers, options) = &*shared;
                let before = server.archived().await?;
                let (load, spent) = measured(server, &mut *talkers.lock().await, options).await?;
                kept(server, before, load.times.len()).await?;
                Ok(load.numbers(spent))
            }
        }));
    }
    Ok(sides)
}

/// Fails unless every answered message is in the archive.
pub(super) async fn kept(server: &Server, before: usize, answered: usize) -> anyhow::Result<()> {
    let archived = server.archived().await? - before;
    ensure!(
        archived == answered,
        "{} answered {answered} messages and archived {archived}",
        server.peer.name()
    );
    Ok(())
}

/// `count` senders who are in one room and receive each other's messages; ends when each has received all
/// of them.
pub(crate) async fn room<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Side<'a>>> {
    let mut sides = Vec::new();
    for peer in speaking_xmpp(options) {
        let server = Server::start(peer).await?;
        let room = xmpp::room("together");
        let mut talkers = Vec::new();
        for (n, mut member) in members(&server, 0..count).await?.into_iter().enumerate() {
            if n == 0 {
                member.make(&room, false).await?;
            } else {
                member.join(&room).await?;
            }
            let room = room.clone();
            talkers.push(Talker { member, room });
        }
        let shared = Rc::new((server, Mutex::new(talkers), options.clone()));
        sides.push(Side::new(peer.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, talkers, options) = &*shared;
                let archived = server.archived().await?;
                let before = cpu(&server.processes);
                let load = together(&mut *talkers.lock().await, options).await?;
                let spent = cpu(&server.processes) - before;
                kept(server, archived, load.times.len()).await?;
                Ok(load.numbers(spent))
            }
        }));
    }
    Ok(sides)
}

async fn together(talkers: &mut Vec<Talker>, options: &Options) -> anyhow::Result<Load> {
    let begin = Instant::now();
    let end = begin + options.span();
    let (tell, mut told) = mpsc::unbounded_channel();
    let (all_said, all) = watch::channel(None::<usize>);
    let mut running = JoinSet::new();
    for mut talker in talkers.drain(..) {
        let (tell, mut all) = (tell.clone(), all.clone());
        running.spawn(async move {
            let from = talker.member.heard;
            let mut times = Vec::new();
            while Instant::now() < end {
                let start = Instant::now();
                talker.once().await?;
                times.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            tell.send(times.len())?;
            drop(tell);
            loop {
                let (heard, all_said) = (talker.member.heard - from, *all.borrow_and_update());
                if let Some(said) = all_said.filter(|said| heard >= *said) {
                    ensure!(heard == said, "{heard} of {said} messages were heard");
                    return anyhow::Ok((talker, times));
                }
                tokio::select! {
                    heard = talker.member.hear() => heard?,
                    changed = all.changed() => changed?,
                }
            }
        });
    }
    drop(tell);
    let mut said = 0;
    while let Some(count) = told.recv().await {
        said += count;
    }
    all_said.send_replace(Some(said));
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        let (talker, mine) = done??;
        talkers.push(talker);
        times.extend(mine);
    }
    let seconds = begin.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(Load { seconds, times })
}

/// Somebody who writes into a room of others.
struct Outsider(Talker);

impl Work for Outsider {
    async fn once(&mut self) -> anyhow::Result<()> {
        self.0.member.be_refused(&self.0.room, "впустите").await
    }
}

/// `count` outsiders who write into a room for members.
pub(crate) async fn refused<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Side<'a>>> {
    let mut sides = Vec::new();
    for peer in speaking_xmpp(options) {
        let server = Server::start(peer).await?;
        let mut members = members(&server, 0..count + 1).await?;
        let mut owner = members.pop().context("an owner")?;
        let room = xmpp::room("closed");
        owner.make(&room, true).await?;
        let outside = |member| {
            let room = room.clone();
            Outsider(Talker { member, room })
        };
        let outsiders: Vec<_> = members.into_iter().map(outside).collect();
        let shared = Rc::new((server, owner, Mutex::new(outsiders), options.clone()));
        sides.push(Side::new(peer.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, _, outsiders, options) = &*shared;
                let (load, spent) = measured(server, &mut *outsiders.lock().await, options).await?;
                Ok(load.numbers(spent))
            }
        }));
    }
    Ok(sides)
}

/// Somebody who opens a room's newest page again and again.
struct Reading(Talker);

impl Work for Reading {
    async fn once(&mut self) -> anyhow::Result<()> {
        const PAGE: usize = 50;
        let found = self.0.member.newest(&self.0.room, PAGE).await?;
        ensure!(found == PAGE, "a page of {found}");
        Ok(())
    }
}

/// The newest page of an archive of so many messages.
pub(crate) async fn history<'a>(options: &Options, messages: usize) -> anyhow::Result<Vec<Side<'a>>> {
    let mut sides = Vec::new();
    for peer in speaking_xmpp(options) {
        let server = Server::start(peer).await?;
        let mut member = Member::enter(server.address, &person(0)).await?;
        let room = xmpp::room("long");
        member.make(&room, false).await?;
        member.say(&room, TEXT).await?;
        server.fill(&room, messages - 1).await?;
        let readings = vec![Reading(Talker { member, room })];
        let shared = Rc::new((server, Mutex::new(readings), options.clone()));
        sides.push(Side::new(peer.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, readings, options) = &*shared;
                let (load, spent) = measured(server, &mut *readings.lock().await, options).await?;
                Ok(load.numbers(spent))
            }
        }));
    }
    Ok(sides)
}

/// The memory that a fresh peer uses for connections of people who are available, in no room, beyond that
/// for none.
pub(crate) fn idle<'a>(options: &Options, connections: usize) -> Vec<Side<'a>> {
    let side = |peer: Peer| Side::new(peer.name(), move || hold(peer, connections));
    speaking_xmpp(options).map(side).collect()
}

async fn hold(peer: Peer, connections: usize) -> anyhow::Result<Numbers> {
    let server = Server::start(peer).await?;
    let process = *server.processes.first().context("a process")?;
    let before = resident_kib(process);
    let members = members(&server, 0..connections).await?;
    let after = resting_kib(process).await;
    drop(members);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let connections = connections as f64;
    Ok(Numbers::from([
        ("kib", (after - before).max(0.0) / connections),
        ("total_mib", after / 1024.0),
    ]))
}

/// A process's memory when it has shrunk no more for three seconds, or after thirty: garbage is collected
/// when it likes to.
async fn resting_kib(process: u32) -> f64 {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let (mut least, mut since) = (f64::INFINITY, 0);
    for _ in 0..30 {
        tick.tick().await;
        let now = resident_kib(process);
        since += 1;
        if now < least * 0.999 {
            (least, since) = (now, 0);
        } else if since == 3 {
            break;
        }
    }
    least
}

/// Newcomers are made members by an invitation, enter, and write: in a room for each of a few owners, all
/// at once.
pub(super) async fn invite<'a>(options: &Options, newcomers: usize) -> anyhow::Result<Vec<Side<'a>>> {
    const OWNERS: usize = 16;
    let mut sides = Vec::new();
    for peer in speaking_xmpp(options) {
        let server = Server::start(peer).await?;
        let owners = members(&server, 0..OWNERS).await?;
        let coming = members(&server, OWNERS..OWNERS + newcomers).await?;
        let shared = Rc::new((server, Mutex::new((owners, coming, 0))));
        sides.push(Side::new(peer.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, people) = &*shared;
                let (owners, coming, round) = &mut *people.lock().await;
                *round += 1;
                let rooms: Vec<_> = (0..OWNERS)
                    .map(|n| xmpp::room(&format!("class{round}x{n}")))
                    .collect();
                let making = owners
                    .iter_mut()
                    .zip(&rooms)
                    .map(|(owner, room)| owner.make(room, true));
                try_join_all(making).await?;
                let each = coming.len() / OWNERS;
                let before = cpu(&server.processes);
                let begin = Instant::now();
                let groups = owners.iter_mut().zip(coming.chunks_mut(each)).zip(&rooms);
                let joining = groups.map(|((owner, group), room)| let_in(owner, group, room));
                let times = try_join_all(joining).await?;
                let seconds = begin.elapsed().as_secs_f64();
                let spent = cpu(&server.processes) - before;
                let mut times = times.concat();
                times.sort_unstable();
                let leaving = owners
                    .iter_mut()
                    .zip(&rooms)
                    .map(|(owner, room)| owner.destroy(room));
                try_join_all(leaving).await?;
                try_join_all(coming.iter_mut().map(Member::put_out)).await?;
                Ok(Load { seconds, times }.numbers(spent))
            }
        }));
    }
    Ok(sides)
}

async fn let_in(owner: &mut Member, group: &mut [Member], room: &str) -> anyhow::Result<Vec<u32>> {
    let mut times = Vec::new();
    for newcomer in group {
        let start = Instant::now();
        owner.invite(room, newcomer.name()).await?;
        newcomer.invited().await?;
        newcomer.join(room).await?;
        newcomer.say(room, "Всем привет").await?;
        times.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(times)
}
