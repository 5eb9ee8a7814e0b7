//! The variants of Synapse: sending messages and inviting members.
use std::{rc::Rc, time::Instant};

use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use tokio::sync::Mutex;

use super::{
    Competitor,
    matrix::Client,
    server::Server,
    xmpp::account_name,
    xmpp_variants::{check_archived, measure},
};
use crate::{
    Options,
    load::{Load, TEXT, Work},
    measure::{Variant, cpu},
};

async fn clients(server: &Server, people: std::ops::Range<usize>) -> anyhow::Result<Vec<Client>> {
    let new_members = people.map(|n| async move { Client::register(server.address, &account_name(n)).await });
    stream::iter(new_members).buffered(4).try_collect().await
}

/// A client that sends messages to a room of its own.
struct RoomSender {
    client: Client,
    room: String,
}

impl Work for RoomSender {
    async fn run_once(&mut self) -> anyhow::Result<()> {
        self.client.send_message(&self.room, TEXT).await
    }
}

/// Returns the variant with `count` senders, each in a room of its own.
pub(super) async fn send<'a>(options: &Options, count: usize) -> anyhow::Result<Option<Variant<'a>>> {
    if !options.competitors().contains(&Competitor::Synapse) {
        return Ok(None);
    }
    let server = Server::start(Competitor::Synapse).await?;
    let mut senders = Vec::new();
    for mut client in clients(&server, 0..count).await? {
        let room = client.create_room().await?;
        senders.push(RoomSender { client, room });
    }
    let shared = Rc::new((server, Mutex::new(senders), options.clone()));
    Ok(Some(Variant::new(Competitor::Synapse.name(), move || {
        let shared = shared.clone();
        async move {
            let (server, senders, options) = &*shared;
            let before = server.archived_messages().await?;
            let (load, cpu_time) = measure(server, &mut *senders.lock().await, options).await?;
            check_archived(server, before, load.times.len()).await?;
            Ok(load.numbers(cpu_time))
        }
    })))
}

/// Returns the variant in which new members are invited, enter and send a message, in 16 rooms at once.
pub(super) async fn invite<'a>(options: &Options, count: usize) -> anyhow::Result<Option<Variant<'a>>> {
    const OWNERS: usize = 16;
    if !options.competitors().contains(&Competitor::Synapse) {
        return Ok(None);
    }
    let server = Server::start(Competitor::Synapse).await?;
    let owners = clients(&server, 0..OWNERS).await?;
    let new_members = clients(&server, OWNERS..OWNERS + count).await?;
    let shared = Rc::new((server, Mutex::new((owners, new_members))));
    Ok(Some(Variant::new(Competitor::Synapse.name(), move || {
        let shared = shared.clone();
        async move {
            let (server, people) = &*shared;
            let (owners, new_members) = &mut *people.lock().await;
            let rooms = try_join_all(owners.iter_mut().map(Client::create_room)).await?;
            let group_size = new_members.len() / OWNERS;
            let before = cpu(&server.processes);
            let begin = Instant::now();
            let groups = owners
                .iter_mut()
                .zip(new_members.chunks_mut(group_size))
                .zip(&rooms);
            let times =
                try_join_all(groups.map(|((owner, group), room)| invite_members(owner, group, room))).await?;
            let seconds = begin.elapsed().as_secs_f64();
            let cpu_time = cpu(&server.processes) - before;
            let mut times = times.concat();
            times.sort_unstable();
            Ok(Load { seconds, times }.numbers(cpu_time))
        }
    })))
}

async fn invite_members(owner: &mut Client, group: &mut [Client], room: &str) -> anyhow::Result<Vec<u32>> {
    let mut times = Vec::new();
    for member in group {
        let start = Instant::now();
        owner.invite(room, member).await?;
        member.join(room).await?;
        member.send_message(room, "Всем привет").await?;
        times.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(times)
}
