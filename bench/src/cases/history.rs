//! The case `history`: reading a page has to take the same time in a short and in a long chat.
use std::{rc::Rc, time::Duration};

use anyhow::{Context as _, ensure};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, Statement};
use tokio::sync::Mutex;

use crate::{
    Options, competitors,
    load::{Sender, Work, closed_loop, connect, send_for},
    measure::{Measured, Numbers, Variant, cpu, run_rounds},
    test_env::{TestEnv, chat_uuid},
};

/// Number of entries in the chat that the long chat is compared with.
const SHORT_CHAT_ENTRIES: i64 = 1_000;
/// Largest number of messages in a competitor's archive, because larger archives take too long to insert.
const MAX_COMPETITOR_MESSAGES: i64 = 1_000_000;

/// Repeatedly reads the newest page, or the page after a sequence number.
struct PageReader {
    chat: Sender,
    after_seq: Option<i64>,
}

impl Work for PageReader {
    async fn run_once(&mut self) -> anyhow::Result<()> {
        let mut page = self.chat.page(50, self.after_seq).await?;
        ensure!(page.len() == 50, "a page of {} entries", page.len());
        if self.after_seq.is_some() {
            page.reverse();
        }
        let gapless = page.windows(2).all(|w| matches!(w, [a, b] if a.seq == b.seq + 1));
        ensure!(gapless, "the sequence numbers of a page have a gap");
        Ok(())
    }
}

pub(super) async fn newest(options: Options) -> anyhow::Result<Measured> {
    let longest = usize::try_from(options.entries.min(MAX_COMPETITOR_MESSAGES))?;
    let competitor_variants = competitors::history(&options, longest).await?;
    let test_env = TestEnv::open(&options, &[]).await?;
    let people = test_env.pupils(16).await?;
    let mut chats = Vec::new();
    for (title, entries) in [("Короткая", SHORT_CHAT_ENTRIES), ("Длинная", options.entries)] {
        let chat = test_env
            .chat(title, &[people.first().context("no person")?])
            .await?;
        test_env.insert_entries(&chat, entries).await?;
        chats.push((chat, entries));
    }
    // Tokens are valid for ten minutes, and inserting the entries can take most of it.
    let people = test_env.renew(&people).await;
    let credential = test_env.credential(people.first().context("no person")?)?;
    let channel = connect(&test_env.address).await?;
    let mut page_readers = Vec::new();
    for (chat, entries) in &chats {
        let chat = Sender::new(channel.clone(), &credential, chat);
        for after_seq in [None, Some(entries / 2)] {
            let chat = chat.clone();
            page_readers.push(Rc::new(Mutex::new(vec![PageReader { chat, after_seq }])));
        }
    }
    let writers = Rc::new(Mutex::new(test_env.senders(&people, 16).await?));
    let (long, _) = chats.last().context("no chat")?;
    let index = Rc::new(Mutex::new(vec![IndexQuery::open(&test_env, long).await?]));
    let (server, duration) = (test_env.server.clone(), options.duration());
    let reading = |name: &'static str, n: usize| {
        let reading = page_readers.get(n).cloned().unwrap_or_default();
        let server = server.clone();
        Variant::new(name, move || read(reading.clone(), server.clone(), duration))
    };
    let mut variants = vec![reading("short", 0), reading("long", 2), reading("middle", 3)];
    let (short_chat_reader, writing) = (page_readers.first().cloned().unwrap_or_default(), server.clone());
    variants.push(Variant::new("quiet", move || {
        read_while_others_write(
            short_chat_reader.clone(),
            writers.clone(),
            writing.clone(),
            duration,
        )
    }));
    variants.push(Variant::new("index", move || {
        read(index.clone(), server.clone(), duration)
    }));
    variants.extend(competitor_variants);
    let folder = tempfile::tempdir()?;
    let measured = run_rounds(&options, folder.path(), &test_env.machine, &mut variants).await?;
    drop(variants);
    test_env.close().await;
    Ok(measured)
}

async fn read<W: Work>(
    reading: Rc<Mutex<Vec<W>>>,
    server: Vec<u32>,
    duration: Duration,
) -> anyhow::Result<Numbers> {
    let before = cpu(&server);
    let load = closed_loop(&mut *reading.lock().await, duration).await?;
    Ok(load.numbers(cpu(&server) - before))
}

/// Reads one chat while senders write to other chats. The processor time of the two cannot be separated, so
/// it is not reported.
async fn read_while_others_write(
    reading: Rc<Mutex<Vec<PageReader>>>,
    writing: Rc<Mutex<Vec<Sender>>>,
    server: Vec<u32>,
    duration: Duration,
) -> anyhow::Result<Numbers> {
    let (mut writers, mut readers) = (writing.lock().await, reading.lock().await);
    let before = cpu(&server);
    let (read, written) = tokio::try_join!(
        closed_loop(&mut *readers, duration),
        send_for(&mut writers, duration, true)
    )?;
    let mut numbers = read.numbers(cpu(&server) - before);
    numbers.remove("cpu_us");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    numbers.insert("written", written.times.len() as f64 / written.seconds);
    Ok(numbers)
}

/// Reads the newest page with one query over one connection: the cost of the index without a server.
struct IndexQuery {
    db: DatabaseConnection,
    query: Statement,
}

impl IndexQuery {
    async fn open(test_env: &TestEnv, chat: &str) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new(
            test_env
                .chat_database
                .clone()
                .context("this case needs PostgreSQL")?,
        );
        options.max_connections(1).sqlx_logging(false);
        let db = Database::connect(options).await?;
        let chat = chat_uuid(chat)?;
        let found = Statement::from_sql_and_values(
            db.get_database_backend(),
            "SELECT org_id FROM chat WHERE chat_id = $1",
            [chat.into()],
        );
        let found = db
            .query_one_raw(found)
            .await?
            .context("the chat is not in the database")?;
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

impl Work for IndexQuery {
    async fn run_once(&mut self) -> anyhow::Result<()> {
        let rows = self.db.query_all_raw(self.query.clone()).await?;
        ensure!(rows.len() == 50, "a page of {} entries", rows.len());
        Ok(())
    }
}
