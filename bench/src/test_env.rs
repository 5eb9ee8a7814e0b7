//! A suite with a school in it, filled through the public API as people come in.
use std::path::Path;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parta_integration_tests::{Person, School, Suite};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;

use crate::{
    Database, Options,
    load::{Credential, Sender},
    measure::Machine,
};

/// Most people that one link of a class admits.
const LINK: usize = 60;

pub(crate) struct TestEnv {
    pub(crate) suite: Suite,
    pub(crate) school: School,
    pub(crate) class: String,
    pub(crate) teacher: Person,
    /// The processes of the server's side: the suite, and PostgreSQL where it is used.
    pub(crate) server: Vec<u32>,
    pub(crate) machine: Machine,
    pub(crate) address: String,
    /// Where the database of chat is; none on SQLite.
    pub(crate) chat_database: Option<String>,
}

impl TestEnv {
    /// All services in one process of the release binary, on the database asked for.
    pub(crate) async fn open(options: &Options, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let program = options.program.display().to_string();
        let suite = Suite::process_with(
            &program,
            &["serve"],
            options.db == Some(Database::Postgres),
            settings,
        )
        .await;
        let mut server: Vec<u32> = suite.process_ids().await.into_values().collect();
        let mut machine = Machine::default();
        let chat_database = match suite.database_urls().await.into_iter().next() {
            None => None,
            Some(any) => {
                let postmaster = postmaster(&any).await?;
                server.push(postmaster);
                machine.postmaster = Some(postmaster);
                chat_of(suite.database_urls().await).await?
            }
        };
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let teacher = school.class_teacher("Мария Кузнецова", &class).await;
        let address = suite.addresses().values().next().context("an address")?.clone();
        Ok(Self {
            machine,
            suite,
            school,
            class,
            teacher,
            server,
            address,
            chat_database,
        })
    }

    /// Pupils of the class, as many as asked for.
    pub(crate) async fn pupils(&self, count: usize) -> anyhow::Result<Vec<Person>> {
        let mut links = Vec::new();
        for _ in 0..count.div_ceil(LINK) {
            let invitation = json!({"role": "ROLE_PUPIL", "unit_id": self.class, "max_uses": LINK});
            links.push(self.school.link(&self.teacher, invitation).await);
        }
        let links = &links;
        let coming = (0..count).map(|n| async move {
            let link = links.get(n / LINK).context("a link")?;
            let name = format!("Ученик {n}");
            let mut account = self.suite.newcomer(&name).await;
            account.client = account.client.on_its_own();
            let person = account.join(link).await;
            // The load carries no consistency tokens: chat has to know everybody before it begins.
            person
                .client
                .must("ChatService/ListChats", json!({"page_size": 1}))
                .await;
            anyhow::Ok(person)
        });
        stream::iter(coming).buffer_unordered(8).try_collect().await
    }

    /// Everybody with a new token.
    pub(crate) async fn renew(&self, people: &[Person]) -> Vec<Person> {
        let renewing = people
            .iter()
            .map(|person| person.account.enter(&self.school.org_id));
        stream::iter(renewing).buffered(8).collect().await
    }

    /// A chat that the class teacher makes for these.
    pub(crate) async fn chat(&self, title: &str, people: &[&Person]) -> anyhow::Result<String> {
        let ids: Vec<_> = people.iter().map(|p| &p.member_id).collect();
        let body = json!({"title": title, "member_ids": ids});
        let made = self.teacher.client.must("ChatService/CreateChat", body).await;
        Ok(made["chat"]["id"].as_str().context("an id")?.to_owned())
    }

    /// The id of the school's channel, in which everybody is.
    pub(crate) async fn channel(&self) -> anyhow::Result<String> {
        let body = json!({"page_size": 200});
        let list = self
            .school
            .administrator
            .client
            .must("ChatService/ListChats", body)
            .await;
        let chats = list["chats"].as_array().context("chats")?;
        let channel = chats.iter().find(|c| c["kind"] == "CHAT_KIND_SCHOOL_CHANNEL");
        let channel = channel.with_context(|| format!("no channel in {list}"))?;
        Ok(channel["id"].as_str().context("an id")?.to_owned())
    }

    pub(crate) fn credential(&self, person: &Person) -> anyhow::Result<Credential> {
        let authorization = person.client.credential().context("a credential")?;
        Credential::new(&self.school.org_id, authorization)
    }

    /// `count` senders, each in a chat of its own, over one connection for 16 of them.
    pub(crate) async fn senders(&self, people: &[Person], count: usize) -> anyhow::Result<Vec<Sender>> {
        let channels = crate::load::channels(&self.address, count.div_ceil(16)).await?;
        let mut senders = Vec::with_capacity(count);
        for n in 0..count {
            let person = people.get(n % people.len()).context("somebody")?;
            let chat = self.chat(&format!("Беседа {n}"), &[person]).await?;
            let channel = channels.get(n / 16).context("a channel")?.clone();
            senders.push(Sender::new(channel, &self.credential(person)?, &chat));
        }
        Ok(senders)
    }

    /// Writes so many entries into a chat by SQL: history that nobody has the time to write. A batch is a
    /// transaction of bounded size; how long all took is said.
    pub(crate) async fn fill(&self, chat_id: &str, entries: i64) -> anyhow::Result<()> {
        const BATCH: i64 = 250_000;
        let begin = std::time::Instant::now();
        let url = self.chat_database.as_deref().context("PostgreSQL")?;
        let id = chat_uuid(chat_id)?;
        let db = sea_orm::Database::connect(url).await?;
        let mut left = entries;
        while left > 0 {
            let batch = left.min(BATCH);
            left -= batch;
            db.execute_unprepared(&format!(
                "INSERT INTO entry (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, create_time)
                 SELECT c.org_id, c.chat_id, c.head_seq + n, gen_random_uuid(), 1, p.member_id, gen_random_uuid(), '\\x00',
                   repeat('слово ', 18), now()
                 FROM chat c JOIN LATERAL (SELECT member_id FROM participant p WHERE p.org_id = c.org_id
                   AND p.chat_id = c.chat_id LIMIT 1) p ON true, generate_series(1, {batch}) n
                 WHERE c.chat_id = '{id}';
                 UPDATE chat SET head_seq = head_seq + {batch} WHERE chat_id = '{id}'"
            ))
            .await?;
        }
        db.execute_unprepared("VACUUM ANALYZE entry").await?;
        db.close().await?;
        println!(
            "bench: {entries} entries written in {:.1} s",
            begin.elapsed().as_secs_f64()
        );
        Ok(())
    }

    pub(crate) async fn close(self) {
        self.suite.stop().await;
    }
}

/// How the databases name a chat.
pub(crate) fn chat_uuid(chat_id: &str) -> anyhow::Result<uuid::Uuid> {
    let chat: parta_ids::ChatId = chat_id.parse()?;
    Ok(parta_ids::TypedId::uuid(chat))
}

/// The process of the PostgreSQL server, which has to be on this machine.
pub(crate) async fn postmaster(url: &str) -> anyhow::Result<u32> {
    let folder = ask(url, "SHOW data_directory").await?;
    let file = std::fs::read_to_string(Path::new(&folder).join("postmaster.pid"))
        .context("the bench measures a PostgreSQL server of this machine only")?;
    Ok(file.lines().next().unwrap_or_default().trim().parse()?)
}

pub(crate) async fn ask(url: &str, sql: &str) -> anyhow::Result<String> {
    let db = sea_orm::Database::connect(url).await?;
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await?.context("an answer")?;
    let text = row.try_get_by_index(0)?;
    db.close().await?;
    Ok(text)
}

/// That of the databases that has chats.
async fn chat_of(urls: Vec<String>) -> anyhow::Result<Option<String>> {
    for url in urls {
        if ask(&url, "SELECT coalesce(to_regclass('public.entry')::text, '')").await? == "entry" {
            return Ok(Some(url));
        }
    }
    Ok(None)
}
