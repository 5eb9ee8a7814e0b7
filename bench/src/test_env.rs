//! The test environment of a case: a running server with a school, whose members join through the public API.
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

/// Largest number of uses of one invitation.
const MAX_USES: usize = 60;

pub(crate) struct TestEnv {
    pub(crate) suite: Suite,
    pub(crate) school: School,
    pub(crate) class: String,
    pub(crate) teacher: Person,
    /// The ids of the server processes: Parta, and PostgreSQL if it is used.
    pub(crate) server: Vec<u32>,
    pub(crate) machine: Machine,
    pub(crate) address: String,
    /// URL of the database of chat; `None` on SQLite.
    pub(crate) chat_database: Option<String>,
    /// URL of the database of membership; `None` on SQLite.
    pub(crate) membership_database: Option<String>,
}

impl TestEnv {
    /// Starts all services in one process on the requested database and creates the school.
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
        let urls = suite.database_urls().await;
        if let Some(url) = urls.first() {
            let postmaster = postmaster(url).await?;
            server.push(postmaster);
            machine.postmaster = Some(postmaster);
        }
        let chat_database = find_database(&urls, "entry").await?;
        let membership_database = find_database(&urls, "account").await?;
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let teacher = school.class_teacher("Мария Кузнецова", &class).await;
        let address = suite.addresses().values().next().context("no address")?.clone();
        Ok(Self {
            machine,
            suite,
            school,
            class,
            teacher,
            server,
            address,
            chat_database,
            membership_database,
        })
    }

    /// Lets `count` pupils join the class.
    pub(crate) async fn pupils(&self, count: usize) -> anyhow::Result<Vec<Person>> {
        let mut links = Vec::new();
        for _ in 0..count.div_ceil(MAX_USES) {
            let invitation = json!({"role": "ROLE_PUPIL", "unit_id": self.class, "max_uses": MAX_USES});
            links.push(self.school.link(&self.teacher, invitation).await);
        }
        let links = &links;
        let joining = (0..count).map(|n| async move {
            let link = links.get(n / MAX_USES).context("no link")?;
            let name = format!("Ученик {n}");
            let mut account = self.suite.newcomer(&name).await;
            account.client = account.client.on_its_own();
            let person = account.join(link, &self.teacher).await;
            // The load generator sends no consistency tokens, so chat must know each pupil before the load
            // starts.
            person
                .client
                .must("ChatService/ListChats", json!({"page_size": 1}))
                .await;
            anyhow::Ok(person)
        });
        stream::iter(joining).buffer_unordered(8).try_collect().await
    }

    /// Returns these people with new tokens.
    pub(crate) async fn renew(&self, people: &[Person]) -> Vec<Person> {
        let renewing = people
            .iter()
            .map(|person| person.account.enter(&self.school.org_id));
        stream::iter(renewing).buffered(8).collect().await
    }

    /// Creates a chat with these people by the class teacher.
    pub(crate) async fn chat(&self, title: &str, people: &[&Person]) -> anyhow::Result<String> {
        let ids: Vec<_> = people.iter().map(|p| &p.member_id).collect();
        let body = json!({"title": title, "member_ids": ids});
        let made = self.teacher.client.must("ChatService/CreateChat", body).await;
        Ok(made["chat"]["id"].as_str().context("no id")?.to_owned())
    }

    /// Returns the id of the school's channel, in which all members are.
    pub(crate) async fn channel(&self) -> anyhow::Result<String> {
        let body = json!({"page_size": 200});
        let list = self
            .school
            .administrator
            .client
            .must("ChatService/ListChats", body)
            .await;
        let chats = list["chats"].as_array().context("no chats")?;
        let channel = chats.iter().find(|c| c["kind"] == "CHAT_KIND_SCHOOL_CHANNEL");
        let channel = channel.with_context(|| format!("no channel in {list}"))?;
        Ok(channel["id"].as_str().context("no id")?.to_owned())
    }

    pub(crate) fn credential(&self, person: &Person) -> anyhow::Result<Credential> {
        let authorization = person.client.credential().context("no credential")?;
        Credential::new(&self.school.org_id, authorization)
    }

    /// Creates `count` senders, each in a chat of its own, with 16 senders per connection.
    pub(crate) async fn senders(&self, people: &[Person], count: usize) -> anyhow::Result<Vec<Sender>> {
        let channels = crate::load::channels(&self.address, count.div_ceil(16)).await?;
        let mut senders = Vec::with_capacity(count);
        for n in 0..count {
            let person = people.get(n % people.len()).context("no person")?;
            let chat = self.chat(&format!("Беседа {n}"), &[person]).await?;
            let channel = channels.get(n / 16).context("no channel")?.clone();
            senders.push(Sender::new(channel, &self.credential(person)?, &chat));
        }
        Ok(senders)
    }

    /// Inserts entries into a chat with SQL, which is faster than sending them, in transactions of bounded
    /// size, and prints the time that it took.
    pub(crate) async fn insert_entries(&self, chat_id: &str, entries: i64) -> anyhow::Result<()> {
        const BATCH: i64 = 250_000;
        let begin = std::time::Instant::now();
        let url = self
            .chat_database
            .as_deref()
            .context("this case needs PostgreSQL")?;
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
            "bench: inserted {entries} entries in {:.1} s",
            begin.elapsed().as_secs_f64()
        );
        Ok(())
    }

    pub(crate) async fn close(self) {
        self.suite.stop().await;
    }
}

/// Returns the id of a chat as the database stores it.
pub(crate) fn chat_uuid(chat_id: &str) -> anyhow::Result<uuid::Uuid> {
    let chat: parta_ids::ChatId = chat_id.parse()?;
    Ok(parta_ids::TypedId::uuid(chat))
}

/// Returns the process id of the PostgreSQL server, which has to run on this machine.
pub(crate) async fn postmaster(url: &str) -> anyhow::Result<u32> {
    let folder = query_text(url, "SHOW data_directory").await?;
    let file = std::fs::read_to_string(Path::new(&folder).join("postmaster.pid"))
        .context("PostgreSQL must run on this machine to be measured")?;
    Ok(file.lines().next().unwrap_or_default().trim().parse()?)
}

/// Returns the first column of the first row of a query.
pub(crate) async fn query_text(url: &str, sql: &str) -> anyhow::Result<String> {
    let db = sea_orm::Database::connect(url).await?;
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await?.context("no row")?;
    let text = row.try_get_by_index(0)?;
    db.close().await?;
    Ok(text)
}

/// Returns the URL of the database that has this table; `None` if there is none.
async fn find_database(urls: &[String], table: &str) -> anyhow::Result<Option<String>> {
    for url in urls {
        let sql = format!("SELECT coalesce(to_regclass('public.{table}')::text, '')");
        if query_text(url, &sql).await? == table {
            return Ok(Some(url.clone()));
        }
    }
    Ok(None)
}
