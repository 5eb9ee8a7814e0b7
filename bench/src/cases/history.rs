//! Reading: a page must cost the same however long the chat is.
use std::{rc::Rc, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::sync::Mutex;

use crate::{
    Options,
    load::{Sender, Work, closed_loop, connect},
    measure::{Measured, Numbers, Side, alternate, cpu},
    world::World,
};

/// Reads the newest page again and again, or the one after a place.
struct Reading {
    chat: Sender,
    after_seq: Option<i64>,
}

impl Work for Reading {
    async fn once(&mut self) -> anyhow::Result<()> {
        let mut page = self.chat.page(50, self.after_seq).await?;
        ensure!(page.len() == 50, "a page of {}", page.len());
        if self.after_seq.is_some() {
            page.reverse();
        }
        let gapless = page.windows(2).all(|w| matches!(w, [a, b] if a.seq == b.seq + 1));
        ensure!(gapless, "a page with a gap");
        Ok(())
    }
}

pub(super) async fn newest(options: Options) -> anyhow::Result<Measured> {
    let world = World::open(&options, &[]).await?;
    let people = world.pupils(1).await?;
    let person = people.first().context("somebody")?;
    let channel = connect(&world.address).await?;
    let mut readings = Vec::new();
    for (title, entries) in [("Короткая", 1_000), ("Длинная", options.entries)] {
        let chat = world.chat(title, &[person]).await?;
        world.fill(&chat, entries).await?;
        let chat = Sender::new(channel.clone(), &world.credential(person)?, &chat);
        let middle = (entries > 1_000).then_some(entries / 2);
        for after_seq in [None, middle] {
            readings.push(Rc::new(Mutex::new(vec![Reading {
                chat: chat.clone(),
                after_seq,
            }])));
        }
    }
    let server = world.server.clone();
    let span = options.span();
    let reading = |name: &'static str, n: usize| {
        let reading = readings.get(n).cloned().unwrap_or_default();
        let server = server.clone();
        Side::new(name, move || read(reading.clone(), server.clone(), span))
    };
    let mut sides = [reading("short", 0), reading("long", 2), reading("middle", 3)];
    let folder = tempfile::tempdir()?;
    let measured = alternate(options.rounds, folder.path(), &world.machine, &mut sides).await?;
    drop(sides);
    world.close().await;
    Ok(measured)
}

async fn read(reading: Rc<Mutex<Vec<Reading>>>, server: Vec<u32>, span: Duration) -> anyhow::Result<Numbers> {
    let before = cpu(&server);
    let load = closed_loop(&mut *reading.lock().await, span).await?;
    Ok(load.numbers(cpu(&server) - before))
}
