//! A thousand in one room: how long until all are in, and what a message to them costs.
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
    xmpp::{self, Member, person},
    xmpp_variants::{Talker, members, speaking_xmpp},
};
use crate::{
    Options,
    cases::fanout::{Audience, Hear, Tell},
    load::Work as _,
    measure::{Numbers, Side, cpu},
};

/// Lets everybody into a room, 64 at a time; returns how long that took. Those who are in go on reading the
/// presences of the others.
async fn enter(coming: Vec<Member>, room: &str) -> anyhow::Result<(Vec<Member>, Duration)> {
    let count = coming.len();
    let begin = Instant::now();
    let (doors, (tell, mut told)) = (Arc::new(Semaphore::new(64)), mpsc::channel(count.max(1)));
    let (all_in, all) = watch::channel(false);
    let mut entering = JoinSet::new();
    for mut member in coming {
        let (doors, tell, mut all, room) = (doors.clone(), tell.clone(), all.clone(), room.to_owned());
        entering.spawn(async move {
            let door = doors.acquire().await?;
            member.join(&room).await?;
            drop(door);
            tell.send(()).await?;
            drop(tell);
            tokio::select! {
                ended = member.listen() => ended?,
                changed = all.wait_for(|all| *all) => drop(changed?),
            }
            anyhow::Ok(member)
        });
    }
    drop(tell);
    let mut inside = 0;
    while told.recv().await.is_some() {
        inside += 1;
    }
    let taken = begin.elapsed();
    all_in.send_replace(true);
    let mut members = Vec::with_capacity(count);
    while let Some(member) = entering.join_next().await {
        members.push(member??);
    }
    ensure!(inside == count, "{inside} of {count} are in");
    Ok((members, taken))
}

impl Tell for Talker {
    async fn tell(&mut self) -> anyhow::Result<()> {
        self.once().await
    }
}

impl Hear for Member {
    async fn hear(&mut self) -> anyhow::Result<()> {
        Self::hear(self).await
    }
}

/// One sender and so many listeners in one room.
pub(crate) async fn fanout<'a>(options: &Options, listeners: usize) -> anyhow::Result<Vec<Side<'a>>> {
    let mut sides = Vec::new();
    for peer in speaking_xmpp(options) {
        let server = Server::start(peer).await?;
        let room = xmpp::room("school");
        let mut member = Member::enter(server.address, &person(listeners)).await?;
        member.make(&room, false).await?;
        let (inside, _) = enter(members(&server, 0..listeners).await?, &room).await?;
        let processes = server.processes.clone();
        let audience = Audience::new(Talker { member, room }, inside, processes);
        let shared = Rc::new((server, audience));
        sides.push(Side::new(peer.name(), move || {
            let shared = shared.clone();
            async move { shared.1.spread().await }
        }));
    }
    Ok(sides)
}

/// `count` members enter a room, another one in each round.
pub(crate) async fn open<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Side<'a>>> {
    let mut sides = Vec::new();
    for peer in speaking_xmpp(options) {
        let server = Server::start(peer).await?;
        let owner = Member::enter(server.address, &person(count)).await?;
        let people = members(&server, 0..count).await?;
        let shared = Rc::new((server, Mutex::new((owner, people, 0))));
        sides.push(Side::new(peer.name(), move || {
            let shared = shared.clone();
            async move {
                let (server, people) = &*shared;
                let (owner, people, round) = &mut *people.lock().await;
                *round += 1;
                let room = xmpp::room(&format!("school{round}"));
                owner.make(&room, false).await?;
                owner.leave(&room).await?;
                let before = cpu(&server.processes);
                let (inside, taken) = enter(std::mem::take(people), &room).await?;
                let spent = cpu(&server.processes) - before;
                *people = inside;
                owner.destroy(&room).await?;
                try_join_all(people.iter_mut().map(Member::put_out)).await?;
                #[expect(clippy::cast_precision_loss, reason = "a thousand")]
                let each = spent.as_secs_f64() * 1e6 / people.len() as f64;
                Ok(Numbers::from([
                    ("seconds", taken.as_secs_f64()),
                    ("cpu_us", each),
                ]))
            }
        }));
    }
    Ok(sides)
}
