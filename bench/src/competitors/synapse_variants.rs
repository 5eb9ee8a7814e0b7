//! The sides of Synapse: writing, and being invited.
use std::{rc::Rc, time::Instant};

use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use tokio::sync::Mutex;

use super::{
    Peer,
    matrix::Client,
    server::Server,
    xmpp::person,
    xmpp_variants::{kept, measured},
};
use crate::{
    Options,
    load::{Load, TEXT, Work},
    measure::{Side, cpu},
};

/// People with new accounts.
async fn clients(server: &Server, people: std::ops::Range<usize>) -> anyhow::Result<Vec<Client>> {
    let coming = people.map(|n| async move { Client::register(server.address, &person(n)).await });
    stream::iter(coming).buffered(4).try_collect().await
}

/// Somebody who writes in a room of their own.
struct Talker {
    client: Client,
    room: String,
}

impl Work for Talker {
    async fn once(&mut self) -> anyhow::Result<()> {
        self.client.say(&self.room, TEXT).await
    }
}

/// `count` senders, each in a room of their own.
pub(super) async fn send<'a>(options: &Options, count: usize) -> anyhow::Result<Option<Side<'a>>> {
    if !options.peers().contains(&Peer::Synapse) {
        return Ok(None);
    }
    let server = Server::start(Peer::Synapse).await?;
    let mut talkers = Vec::new();
    for mut client in clients(&server, 0..count).await? {
        let room = client.make().await?;
        talkers.push(Talker { client, room });
    }
    let shared = Rc::new((server, Mutex::new(talkers), options.clone()));
    Ok(Some(Side::new(Peer::Synapse.name(), move || {
        let shared = shared.clone();
        async move {
            let (server, talkers, options) = &*shared;
            let before = server.archived().await?;
            let (load, spent) = measured(server, &mut *talkers.lock().await, options).await?;
            kept(server, before, load.times.len()).await?;
            Ok(load.numbers(spent))
        }
    })))
}

/// Newcomers are invited, join, and write: in a room for each of a few owners, all at once.
pub(super) async fn invite<'a>(options: &Options, newcomers: usize) -> anyhow::Result<Option<Side<'a>>> {
    const OWNERS: usize = 16;
    if !options.peers().contains(&Peer::Synapse) {
        return Ok(None);
    }
    let server = Server::start(Peer::Synapse).await?;
    let owners = clients(&server, 0..OWNERS).await?;
    let coming = clients(&server, OWNERS..OWNERS + newcomers).await?;
    let shared = Rc::new((server, Mutex::new((owners, coming))));
    Ok(Some(Side::new(Peer::Synapse.name(), move || {
        let shared = shared.clone();
        async move {
            let (server, people) = &*shared;
            let (owners, coming) = &mut *people.lock().await;
            let rooms = try_join_all(owners.iter_mut().map(Client::make)).await?;
            let each = coming.len() / OWNERS;
            let before = cpu(&server.processes);
            let begin = Instant::now();
            let groups = owners.iter_mut().zip(coming.chunks_mut(each)).zip(&rooms);
            let times = try_join_all(groups.map(|((owner, group), room)| let_in(owner, group, room))).await?;
            let seconds = begin.elapsed().as_secs_f64();
            let spent = cpu(&server.processes) - before;
            let mut times = times.concat();
            times.sort_unstable();
            Ok(Load { seconds, times }.numbers(spent))
        }
    })))
}

async fn let_in(owner: &mut Client, group: &mut [Client], room: &str) -> anyhow::Result<Vec<u32>> {
    let mut times = Vec::new();
    for newcomer in group {
        let start = Instant::now();
        owner.invite(room, newcomer).await?;
        newcomer.join(room).await?;
        newcomer.say(room, "Всем привет").await?;
        times.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(times)
}
