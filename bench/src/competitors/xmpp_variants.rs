//! The variants of the XMPP servers: the workloads of the cases, as far as XMPP group chat supports them.
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
    Competitor,
    server::Server,
    xmpp::{self, Member, account_name},
};
use crate::{
    Options,
    load::{Load, TEXT, Work, closed_loop},
    measure::{Numbers, Variant, cpu},
};

/// Returns the selected competitors that use XMPP.
pub(super) fn xmpp_competitors(options: &Options) -> impl Iterator<Item = Competitor> {
    options
        .competitors()
        .iter()
        .copied()
        .filter(|competitor| competitor.uses_xmpp())
}

/// Signs the accounts in, at most 16 at the same time.
pub(super) async fn members(server: &Server, people: std::ops::Range<usize>) -> anyhow::Result<Vec<Member>> {
    let signing_in = people.map(|n| async move { Member::sign_in(server.address, &account_name(n)).await });
    stream::iter(signing_in).buffered(16).try_collect().await
}

/// A member that sends messages to a room.
pub(super) struct RoomSender {
    pub(super) member: Member,
    pub(super) room: String,
}

impl Work for RoomSender {
    async fn run_once(&mut self) -> anyhow::Result<()> {
        self.member.send_message(&self.room, TEXT).await
    }
}

/// Runs a closed loop and returns its result and the processor time of the server.
pub(super) async fn measure<W: Work>(
    server: &Server,
    workers: &mut Vec<W>,
    options: &Options,
) -> anyhow::Result<(Load, Duration)> {
    let before = cpu(&server.processes);
    let load = closed_loop(workers, options.duration()).await?;
    Ok((load, cpu(&server.processes) - before))
}

/// Returns the variants with `count` senders, each in a room of its own.
pub(super) async fn send<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Variant<'a>>> {
    let mut variants = Vec::new();
    for competitor in xmpp_competitors(options) {
        let server = Server::start(competitor).await?;
        let mut senders = Vec::new();
        for (n, mut member) in members(&server, 0..count).await?.into_iter().enumerate() {
            let room = xmpp::room_address(&format!("own{n}"));
            member.create_room(&room, false).await?;
            senders.push(RoomSender { member, room });
        }
        let shared = Rc::new((server, Mutex::new(senders), options.clone()));
        variants.push(Variant::new(competitor.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, senders, options) = &*shared;
                let before = server.archived_messages().await?;
                let (load, cpu_time) = measure(server, &mut *senders.lock().await, options).await?;
                check_archived(server, before, load.times.len()).await?;
                Ok(load.numbers(cpu_time))
            }
        }));
    }
    Ok(variants)
}

/// Fails if an acknowledged message is not in the archive.
pub(super) async fn check_archived(
    server: &Server,
    before: usize,
    acknowledged: usize,
) -> anyhow::Result<()> {
    let archived_messages = server.archived_messages().await? - before;
    ensure!(
        archived_messages == acknowledged,
        "{} acknowledged {acknowledged} messages and archived {archived_messages}",
        server.competitor.name()
    );
    Ok(())
}

/// Returns the variants with `count` senders in one room. A round ends when each has received all messages.
pub(crate) async fn room<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Variant<'a>>> {
    let mut variants = Vec::new();
    for competitor in xmpp_competitors(options) {
        let server = Server::start(competitor).await?;
        let room = xmpp::room_address("together");
        let mut senders = Vec::new();
        for (n, mut member) in members(&server, 0..count).await?.into_iter().enumerate() {
            if n == 0 {
                member.create_room(&room, false).await?;
            } else {
                member.join(&room).await?;
            }
            let room = room.clone();
            senders.push(RoomSender { member, room });
        }
        let shared = Rc::new((server, Mutex::new(senders), options.clone()));
        variants.push(Variant::new(competitor.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, senders, options) = &*shared;
                let archived_messages = server.archived_messages().await?;
                let before = cpu(&server.processes);
                let load = send_and_receive(&mut *senders.lock().await, options).await?;
                let cpu_time = cpu(&server.processes) - before;
                check_archived(server, archived_messages, load.times.len()).await?;
                Ok(load.numbers(cpu_time))
            }
        }));
    }
    Ok(variants)
}

async fn send_and_receive(senders: &mut Vec<RoomSender>, options: &Options) -> anyhow::Result<Load> {
    let begin = Instant::now();
    let end = begin + options.duration();
    let (report_sent, mut sent_counts) = mpsc::unbounded_channel();
    let (total_sender, total_receiver) = watch::channel(None::<usize>);
    let mut running = JoinSet::new();
    for mut sender in senders.drain(..) {
        let (report_sent, mut total_receiver) = (report_sent.clone(), total_receiver.clone());
        running.spawn(async move {
            let received_before = sender.member.received_messages;
            let mut times = Vec::new();
            while Instant::now() < end {
                let start = Instant::now();
                sender.run_once().await?;
                times.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            report_sent.send(times.len())?;
            drop(report_sent);
            loop {
                let received = sender.member.received_messages - received_before;
                let total = *total_receiver.borrow_and_update();
                if let Some(total) = total.filter(|total| received >= *total) {
                    ensure!(received == total, "received {received} of {total} messages");
                    return anyhow::Ok((sender, times));
                }
                tokio::select! {
                    message = sender.member.receive_message() => message?,
                    changed = total_receiver.changed() => changed?,
                }
            }
        });
    }
    drop(report_sent);
    let mut total = 0;
    while let Some(count) = sent_counts.recv().await {
        total += count;
    }
    total_sender.send_replace(Some(total));
    let mut times = Vec::new();
    while let Some(joined) = running.join_next().await {
        let (sender, sender_times) = joined??;
        senders.push(sender);
        times.extend(sender_times);
    }
    let seconds = begin.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(Load { seconds, times })
}

/// A sender that is not a member of the room.
struct Outsider(RoomSender);

impl Work for Outsider {
    async fn run_once(&mut self) -> anyhow::Result<()> {
        self.0
            .member
            .expect_refusal(&self.0.room, "Можно мне в беседу?")
            .await
    }
}

/// Returns the variants in which `count` outsiders send messages to a members-only room.
pub(crate) async fn refused<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Variant<'a>>> {
    let mut variants = Vec::new();
    for competitor in xmpp_competitors(options) {
        let server = Server::start(competitor).await?;
        let mut members = members(&server, 0..count + 1).await?;
        let mut owner = members.pop().context("no owner")?;
        let room = xmpp::room_address("closed");
        owner.create_room(&room, true).await?;
        let outsider = |member| {
            let room = room.clone();
            Outsider(RoomSender { member, room })
        };
        let outsiders: Vec<_> = members.into_iter().map(outsider).collect();
        let shared = Rc::new((server, owner, Mutex::new(outsiders), options.clone()));
        variants.push(Variant::new(competitor.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, _, outsiders, options) = &*shared;
                let (load, cpu_time) = measure(server, &mut *outsiders.lock().await, options).await?;
                Ok(load.numbers(cpu_time))
            }
        }));
    }
    Ok(variants)
}

/// Repeatedly reads the newest page of a room.
struct PageReader(RoomSender);

impl Work for PageReader {
    async fn run_once(&mut self) -> anyhow::Result<()> {
        const PAGE: usize = 50;
        let page_length = self.0.member.newest_page(&self.0.room, PAGE).await?;
        ensure!(page_length == PAGE, "a page of {page_length} messages");
        Ok(())
    }
}

/// Returns the variants that read the newest page of an archive with this number of messages.
pub(crate) async fn history<'a>(options: &Options, messages: usize) -> anyhow::Result<Vec<Variant<'a>>> {
    let mut variants = Vec::new();
    for competitor in xmpp_competitors(options) {
        let server = Server::start(competitor).await?;
        let mut member = Member::sign_in(server.address, &account_name(0)).await?;
        let room = xmpp::room_address("long");
        member.create_room(&room, false).await?;
        member.send_message(&room, TEXT).await?;
        server.insert_messages(&room, messages - 1).await?;
        let page_readers = vec![PageReader(RoomSender { member, room })];
        let shared = Rc::new((server, Mutex::new(page_readers), options.clone()));
        variants.push(Variant::new(competitor.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, page_readers, options) = &*shared;
                let (load, cpu_time) = measure(server, &mut *page_readers.lock().await, options).await?;
                Ok(load.numbers(cpu_time))
            }
        }));
    }
    Ok(variants)
}

/// Returns the variants that measure how much the memory of a new server grows when `connections` accounts
/// sign in. They enter no room.
pub(crate) fn idle<'a>(options: &Options, connections: usize) -> Vec<Variant<'a>> {
    let variant = |competitor: Competitor| {
        Variant::new(competitor.name(), move || measure_memory(competitor, connections))
    };
    xmpp_competitors(options).map(variant).collect()
}

async fn measure_memory(competitor: Competitor, connections: usize) -> anyhow::Result<Numbers> {
    let server = Server::start(competitor).await?;
    let process = *server.processes.first().context("no process")?;
    let before = resident_kib(process);
    let members = members(&server, 0..connections).await?;
    let after = memory_at_rest_kib(process).await;
    drop(members);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let connections = connections as f64;
    Ok(Numbers::from([
        ("kib", (after - before).max(0.0) / connections),
        ("total_mib", after / 1024.0),
    ]))
}

/// Returns the memory of a process when it has not decreased for three seconds, at most after 30 seconds. The
/// delay lets the garbage collector run.
async fn memory_at_rest_kib(process: u32) -> f64 {
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

/// Returns the variants in which new members are invited, enter and send a message, in 16 rooms at once.
pub(super) async fn invite<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Variant<'a>>> {
    const OWNERS: usize = 16;
    let mut variants = Vec::new();
    for competitor in xmpp_competitors(options) {
        let server = Server::start(competitor).await?;
        let owners = members(&server, 0..OWNERS).await?;
        let new_members = members(&server, OWNERS..OWNERS + count).await?;
        let shared = Rc::new((server, Mutex::new((owners, new_members, 0))));
        variants.push(Variant::new(competitor.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, people) = &*shared;
                let (owners, new_members, round) = &mut *people.lock().await;
                *round += 1;
                let rooms: Vec<_> = (0..OWNERS)
                    .map(|n| xmpp::room_address(&format!("class{round}x{n}")))
                    .collect();
                let creating_rooms = owners
                    .iter_mut()
                    .zip(&rooms)
                    .map(|(owner, room)| owner.create_room(room, true));
                try_join_all(creating_rooms).await?;
                let group_size = new_members.len() / OWNERS;
                let before = cpu(&server.processes);
                let begin = Instant::now();
                let groups = owners
                    .iter_mut()
                    .zip(new_members.chunks_mut(group_size))
                    .zip(&rooms);
                let joining = groups.map(|((owner, group), room)| invite_members(owner, group, room));
                let times = try_join_all(joining).await?;
                let seconds = begin.elapsed().as_secs_f64();
                let cpu_time = cpu(&server.processes) - before;
                let mut times = times.concat();
                times.sort_unstable();
                let destroying_rooms = owners
                    .iter_mut()
                    .zip(&rooms)
                    .map(|(owner, room)| owner.destroy(room));
                try_join_all(destroying_rooms).await?;
                try_join_all(new_members.iter_mut().map(Member::wait_until_destroyed)).await?;
                Ok(Load { seconds, times }.numbers(cpu_time))
            }
        }));
    }
    Ok(variants)
}

async fn invite_members(owner: &mut Member, group: &mut [Member], room: &str) -> anyhow::Result<Vec<u32>> {
    let mut times = Vec::new();
    for member in group {
        let start = Instant::now();
        owner.invite(room, member.name()).await?;
        member.wait_for_invitation().await?;
        member.join(room).await?;
        member.send_message(room, "Всем привет").await?;
        times.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(times)
}
