//! Variants with one large room: the time until all members have entered, and the fan-out of messages.
use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures::future::try_join_all;
use tokio::{
    sync::{Mutex, Semaphore, mpsc, watch},
    task::JoinSet,
};

use super::{
    server::Server,
    xmpp::{self, Member, account_name},
    xmpp_variants::{RoomSender, members, xmpp_competitors},
};
use crate::{
    Options,
    cases::fanout::FanoutGroup,
    delivery::{Publish, Receive},
    load::Work as _,
    measure::{Numbers, Variant, cpu},
};

/// Lets all members enter a room, at most 64 at the same time, and returns how long that took. Members who
/// have entered keep reading the presences of the others.
async fn enter_all(members: Vec<Member>, room: &str) -> anyhow::Result<(Vec<Member>, Duration)> {
    let count = members.len();
    let begin = Instant::now();
    let (permits, (notify, mut entered)) = (Arc::new(Semaphore::new(64)), mpsc::channel(count.max(1)));
    let (all_entered, wait_for_all) = watch::channel(false);
    let mut entering = JoinSet::new();
    for mut member in members {
        let (permits, notify) = (permits.clone(), notify.clone());
        let (mut wait_for_all, room) = (wait_for_all.clone(), room.to_owned());
        entering.spawn(async move {
            let permit = permits.acquire().await?;
            member.join(&room).await?;
            drop(permit);
            notify.send(()).await?;
            drop(notify);
            tokio::select! {
                ended = member.read_to_end() => ended?,
                changed = wait_for_all.wait_for(|all_entered| *all_entered) => drop(changed?),
            }
            anyhow::Ok(member)
        });
    }
    drop(notify);
    let mut entered_count = 0;
    while entered.recv().await.is_some() {
        entered_count += 1;
    }
    let elapsed = begin.elapsed();
    all_entered.send_replace(true);
    let mut members = Vec::with_capacity(count);
    while let Some(member) = entering.join_next().await {
        members.push(member??);
    }
    ensure!(
        entered_count == count,
        "{entered_count} of {count} members have entered"
    );
    Ok((members, elapsed))
}

impl Publish for RoomSender {
    async fn publish(&mut self) -> anyhow::Result<()> {
        self.run_once().await
    }
}

impl Receive for Member {
    async fn receive(&mut self) -> anyhow::Result<()> {
        self.receive_message().await
    }
}

/// Returns the variants with one sender and `receivers` in one room.
pub(crate) async fn fanout<'a>(options: &Options, receivers: usize) -> anyhow::Result<Vec<Variant<'a>>> {
    let mut variants = Vec::new();
    for competitor in xmpp_competitors(options) {
        let server = Server::start(competitor).await?;
        let room = xmpp::room_address("school");
        let mut member = Member::sign_in(server.address, &account_name(receivers)).await?;
        member.create_room(&room, false).await?;
        let (entered, _) = enter_all(members(&server, 0..receivers).await?, &room).await?;
        let processes = server.processes.clone();
        let fanout_group = FanoutGroup::new(RoomSender { member, room }, entered, processes);
        let shared = Rc::new((server, fanout_group));
        variants.push(Variant::new(competitor.name(), move || {
            let shared = shared.clone();
            async move { shared.1.measure_fanout().await }
        }));
    }
    Ok(variants)
}

/// Returns the variants in which `count` members enter a room, a new room in each round.
pub(crate) async fn open<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Variant<'a>>> {
    let mut variants = Vec::new();
    for competitor in xmpp_competitors(options) {
        let server = Server::start(competitor).await?;
        let owner = Member::sign_in(server.address, &account_name(count)).await?;
        let members = members(&server, 0..count).await?;
        let shared = Rc::new((server, Mutex::new((owner, members, 0))));
        variants.push(Variant::new(competitor.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, members) = &*shared;
                let (owner, members, round) = &mut *members.lock().await;
                *round += 1;
                let room = xmpp::room_address(&format!("school{round}"));
                owner.create_room(&room, false).await?;
                owner.leave(&room).await?;
                let before = cpu(&server.processes);
                let (entered, elapsed) = enter_all(std::mem::take(members), &room).await?;
                let cpu_time = cpu(&server.processes) - before;
                *members = entered;
                owner.destroy(&room).await?;
                try_join_all(members.iter_mut().map(Member::wait_until_destroyed)).await?;
                #[expect(clippy::cast_precision_loss, reason = "a thousand")]
                let cpu_us = cpu_time.as_secs_f64() * 1e6 / members.len() as f64;
                Ok(Numbers::from([
                    ("seconds", elapsed.as_secs_f64()),
                    ("cpu_us", cpu_us),
                ]))
            }
        }));
    }
    Ok(variants)
}
