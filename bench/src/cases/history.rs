//! Reading: a page must cost the same however long the chat is.
use std::{rc::Rc, time::Duration};

use anyhow::{Context as _, ensure};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, Statement};
use tokio::sync::Mutex;

use crate::{
    Options, competitors,
    load::{Sender, Work, closed_loop, connect, send_for},
    measure::{Measured, Numbers, Side, alternate, cpu},
    test_env::{TestEnv, chat_uuid},
};

/// Entries of the chat that the long one is compared with.
const SHORT: i64 = 1_000;
/// The most that a peer's archive is filled with: what it does with a million takes long enough.
const PEERS_MOST: i64 = 1_000_000;

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
    let longest = usize::try_from(options.entries.min(PEERS_MOST))?;
    let others = competitors::history(&options, longest).await?;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(16).await?;
    let mut chats = Vec::new();
    for (title, entries) in [("Короткая", SHORT), ("Длинная", options.entries)] {
        let chat = test_env
            .chat(title, &[people.first().context("somebody")?])
            .await?;
        test_env.fill(&chat, entries).await?;
        chats.push((chat, entries));
    }
    // Anew, because a token lasts ten minutes and filling may take some.
    let people = test_env.renew(&people).await;
    let credential = test_env.credential(people.first().context("somebody")?)?;
    let channel = connect(&test_env.address).await?;
    let mut readings = Vec::new();
    for (chat, entries) in &chats {
        let chat = Sender::new(channel.clone(), &credential, chat);
        for after_seq in [None, Some(entries / 2)] {
            let chat = chat.clone();
            readings.push(Rc::new(Mutex::new(vec![Reading { chat, after_seq }])));
        }
    }
    let busy = Rc::new(Mutex::new(test_env.senders(&people, 16).await?));
    let (long, _) = chats.last().context("a chat")?;
    let index = Rc::new(Mutex::new(vec![Index::open(&test_env, long).await?]));
    let (server, span) = (test_env.server.clone(), options.span());
    let reading = |name: &'static str, n: usize| {
        let reading = readings.get(n).cloned().unwrap_or_default();
        let server = server.clone();
        Side::new(name, move || read(reading.clone(), server.clone(), span))
    };
    let mut sides = vec![reading("short", 0), reading("long", 2), reading("middle", 3)];
    let (quiet, writing) = (readings.first().cloned().unwrap_or_default(), server.clone());
    sides.push(Side::new("quiet", move || {
        among_writers(quiet.clone(), busy.clone(), writing.clone(), span)
    }));
    sides.push(Side::new("index", move || {
        read(index.clone(), server.clone(), span)
    }));
    sides.extend(others);
    let folder = tempfile::tempdir()?;
    let measured = alternate(&options, folder.path(), &test_env.machine, &mut sides).await?;
    drop(sides);
    test_env.close().await;
    Ok(measured)
}

async fn read<W: Work>(
    reading: Rc<Mutex<Vec<W>>>,
    server: Vec<u32>,
    span: Duration,
) -> anyhow::Result<Numbers> {
    let before = cpu(&server);
    let load = closed_loop(&mut *reading.lock().await, span).await?;
    Ok(load.numbers(cpu(&server) - before))
}

/// Reads one chat while others write in theirs. The processor time is that of both and says nothing of
/// either.
async fn among_writers(
    reading: Rc<Mutex<Vec<Reading>>>,
    writing: Rc<Mutex<Vec<Sender>>>,
    server: Vec<u32>,
    span: Duration,
) -> anyhow::Result<Numbers> {
    let (mut writers, mut readers) = (writing.lock().await, reading.lock().await);
    let before = cpu(&server);
    let (read, written) = tokio::try_join!(
        closed_loop(&mut *readers, span),
        send_for(&mut writers, span, true)
    )?;
    let mut numbers = read.numbers(cpu(&server) - before);
    numbers.remove("cpu_us");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    numbers.insert("written", written.times.len() as f64 / written.seconds);
    Ok(numbers)
}

/// The newest page by one query through one connection: what the index alone costs.
struct Index {
    db: DatabaseConnection,
    query: Statement,
}

impl Index {
    async fn open(test_env: &TestEnv, chat: &str) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new(test_env.chat_database.clone().context("PostgreSQL")?);
        options.max_connections(1).sqlx_logging(false);
        let db = Database::connect(options).await?;
        let chat = chat_uuid(chat)?;
        let found = Statement::from_sql_and_values(
            db.get_database_backend(),
            "SELECT org_id FROM chat WHERE chat_id = $1",
            [chat.into()],
        );
        let found = db.query_one_raw(found).await?.context("the chat")?;
        let org: uuid::Uuid = found.try_get_by_index(0)?;
        let query = Statement::from_sql_and_values(
            db.get_database_backend(),
            "SELECT seq, entry_id, kind, sender, body, create_time FROM entry
             WHERE org_id = $1 AND chat_id = $2 ORDER BY seq DESC LIMIT 50",
            [org.into(), chat.into()],
        );
        Ok(Self { db, query })
    }
}

impl Work for Index {
    async fn once(&mut self) -> anyhow::Result<()> {
        let rows = self.db.query_all_raw(self.query.clone()).await?;
        ensure!(rows.len() == 50, "a page of {}", rows.len());
        Ok(())
    }
}
