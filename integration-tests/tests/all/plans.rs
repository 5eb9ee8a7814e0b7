//! No request scans a whole table. The test reads PostgreSQL's counters of sequential reads, with 100,000
//! rows in every table that grows with the number of schools and people.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use parta_integration_tests::{Person, School, Suite};
use parta_testkit::{TestDatabase, on_postgres};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};

/// Number of rows in a service's own tables and in its projections.
const ROWS: i64 = 100_000;
const COPIED_ROWS: i64 = 10_000;

/// Tables of the event log, cursors and jobs, because consumers and runners would process generated rows. The
/// development outbox is excluded too, because the last message to a phone must remain the last.
const LEFT_ALONE: [&str; 12] = [
    "event",
    "event_epoch",
    "event_head",
    "feed_cursor",
    "feed_pulse",
    "feed_quarantine",
    "job",
    "audit_entry",
    "audit_head",
    "schema_requirement",
    "seaql_migrations",
    "outbox_message",
];

async fn rows(db: &DatabaseConnection, sql: &str) -> Vec<sea_orm::QueryResult> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_all_raw(statement).await.unwrap()
}

/// Copies the first row of each table with new keys, up to the size of a large installation.
async fn grow(url: &str) {
    let db = Database::connect(url).await.unwrap();
    let columns = rows(
        &db,
        "SELECT c.relname AS name, a.attname AS column_name, format_type(a.atttypid, NULL) AS type,
            EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey)) AS keyed,
            EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indkey[0] = a.attnum
                AND i.indnkeyatts = 1) AS alone
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
        ORDER BY c.relname, a.attnum",
    )
    .await;
    let mut tables = BTreeMap::<String, Vec<(String, String)>>::new();
    for row in columns {
        let get = |column: &str| row.try_get::<String>("", column).unwrap();
        let (table, column, kind) = (get("name"), get("column_name"), get("type"));
        let is = |flag: &str| row.try_get::<bool>("", flag).unwrap();
        let old = format!("s.\"{column}\"");
        let new = match (kind.as_str(), is("keyed")) {
            ("uuid", _) if column == "org_id" && !is("alone") => "md5('org' || i % 200)::uuid".to_owned(),
            ("uuid", _) => format!("md5('{column}' || i)::uuid"),
            ("text" | "character varying", true) => format!("{old} || i"),
            ("bytea", true) => "sha256(i::text::bytea)".to_owned(),
            // Enum values are copied, because an invented value is refused with STORED_VALUE_UNKNOWN.
            ("integer" | "bigint", true) if ["state", "kind"].contains(&column.as_str()) => old.clone(),
            ("integer" | "bigint", true) => format!("{old} + i"),
            ("timestamp with time zone", _) => format!("{old} + i * interval '1 second'"),
            _ => old.clone(),
        };
        let value = format!("CASE WHEN {old} IS NULL THEN NULL ELSE {new} END");
        tables
            .entry(table)
            .or_default()
            .push((format!("\"{column}\""), value));
    }
    let mut script = "SET session_replication_role = replica; SET synchronous_commit = off;".to_owned();
    for (table, columns) in &tables {
        if LEFT_ALONE.contains(&table.as_str()) {
            continue;
        }
        let copied = table.starts_with("roster_") || table == "idempotency_record";
        let count = if copied { COPIED_ROWS } else { ROWS };
        let (names, values): (Vec<_>, Vec<_>) = columns.iter().cloned().unzip();
        script += &format!(
            "INSERT INTO \"{table}\" ({}) SELECT {} FROM (SELECT * FROM \"{table}\" LIMIT 1) s,
                generate_series(1, {count}) i ON CONFLICT DO NOTHING;",
            names.join(", "),
            values.join(", ")
        );
    }
    // Use one connection, because the settings belong to the session.
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let one = Database::connect(options).await.unwrap();
    one.execute_unprepared(&script).await.unwrap();
    one.execute_unprepared("ANALYZE").await.unwrap();
    one.execute_unprepared("SELECT pg_stat_reset()").await.unwrap();
    one.close().await.unwrap();
    db.close().await.unwrap();
}

/// Returns the large tables that were scanned, with the number of scans.
async fn read_whole(url: &str) -> (Vec<String>, usize) {
    let db = Database::connect(url).await.unwrap();
    let found = rows(
        &db,
        "SELECT s.relname AS name, s.seq_scan, c.reltuples::bigint AS size FROM pg_stat_user_tables s
        JOIN pg_class c ON c.oid = s.relid WHERE c.reltuples >= 5000",
    )
    .await;
    let large = found.len();
    let whole = found.into_iter().filter_map(|row| {
        let scans: i64 = row.try_get("", "seq_scan").unwrap();
        let name: String = row.try_get("", "name").unwrap();
        (scans > 0).then(|| format!("{name}: {scans} times"))
    });
    let whole = whole.collect();
    db.close().await.unwrap();
    (whole, large)
}

async fn suite_on(databases: &BTreeMap<String, TestDatabase>, folder: &Arc<tempfile::TempDir>) -> Suite {
    let set = |(section, database): (&String, &TestDatabase)| {
        [
            format!("{section}.database_url={}", database.url()),
            format!("{section}.database_max_connections=4"),
        ]
    };
    let settings: Vec<_> = databases.iter().flat_map(set).collect();
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    Suite::one_process_in(folder.clone(), &settings).await
}

struct SampleSchool {
    school: School,
    leader: Person,
    pupil: Person,
    parent: Person,
    class: String,
    chat: Value,
    call: Value,
    invitation: Value,
}

/// Creates a small school with a row in every table.
async fn create_sample_school(suite: &Suite) -> SampleSchool {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let leader = school.class_teacher("Мария Кузнецова", &class).await;
    let pupil = school.pupil(&leader, "Пётр Сидоров", &class).await;
    let parent = school.parent(&leader, "Ольга Сидорова", &pupil, &class).await;
    let chats = leader.client.must("ChatService/ListChats", json!({})).await;
    let of_pupils = |c: &&Value| c["kind"] == "CHAT_KIND_CLASS_PUPILS";
    let chat = chats["chats"].as_array().unwrap().iter().find(of_pupils).unwrap()["id"].clone();
    let made = json!({"title": "Кружок", "member_ids": [pupil.member_id]});
    leader.client.must("ChatService/CreateChat", made).await;
    let text = json!({"chat_id": chat, "text": "Здравствуйте!"});
    leader.client.must("MessageService/SendMessage", text).await;
    let plan = json!({
        "unit_id": class, "title": "Математика", "kind": "CALL_KIND_LESSON", "format": "CALL_FORMAT_ONLINE",
        "start_civil_time": "2027-01-12T09:00:00", "duration": "2700s",
        "weekly": {"interval": 1, "count": 10}, "announce": true,
    });
    let call = leader.client.must("CallService/PlanCall", plan).await["call"]["id"].clone();
    let invite = json!({"role": "ROLE_PUPIL", "unit_id": class, "max_uses": 3});
    let invitation = leader
        .client
        .must("InvitationService/CreateInvitation", invite)
        .await["invitation"]["id"]
        .clone();
    let permissions = json!({"display_name": "Журнал", "permissions": ["roster.read"]});
    // A refusal would leave the table empty. Then it is not measured, and the count of tables below fails.
    let _ = school
        .administrator
        .client
        .call("ServiceAccountService/CreateServiceAccount", permissions)
        .await;
    SampleSchool {
        school,
        leader,
        pupil,
        parent,
        class,
        chat,
        call,
        invitation,
    }
}

/// Requests of daily use and of administration.
async fn send_daily_requests(suite: &Suite, sample: &SampleSchool) {
    let enter = async |person: &Person| suite.again(&person.account).enter(&sample.school.org_id).await;
    let (admin, leader) = (
        enter(&sample.school.administrator).await,
        enter(&sample.leader).await,
    );
    let (pupil, parent) = (enter(&sample.pupil).await, enter(&sample.parent).await);
    let (class, chat) = (&sample.class, &sample.chat);
    for who in [&admin, &leader, &pupil, &parent] {
        for (rpc, body) in [
            ("ChatService/ListChats", json!({})),
            ("MemberService/ListMembers", json!({"unit_id": class})),
            (
                "MemberService/GetMember",
                json!({"member_id": sample.pupil.member_id}),
            ),
            ("UnitService/ListUnits", json!({})),
            ("OrganizationService/GetOrganization", json!({})),
            (
                "PolicyService/PreviewPolicies",
                json!({
                    "policies": {"teacher_verification": "TEACHER_VERIFICATION_OPTIONAL"},
                    "update_mask": "teacherVerification",
                }),
            ),
            ("PolicyService/ListPolicyChanges", json!({})),
            (
                "MessageService/ListEntries",
                json!({"chat_id": chat, "page_size": 20}),
            ),
            ("ChatService/ListParticipants", json!({"chat_id": chat})),
            ("ChatService/ListUnsupervisedChats", json!({})),
            (
                "MessageService/BatchGetAuthors",
                json!({"chat_id": chat, "seqs": [1, 2]}),
            ),
            (
                "GuardianshipService/ListGuardianships",
                json!({"child_id": sample.pupil.member_id}),
            ),
            ("AssignmentService/ListAssignments", json!({"unit_id": class})),
            ("InvitationService/ListInvitations", json!({})),
            (
                "InvitationService/ListInvitationUses",
                json!({"invitation_id": sample.invitation}),
            ),
            ("CallService/GetCall", json!({"call_id": sample.call})),
            (
                "CallService/ListOccurrences",
                json!({"window_start_time": "2027-01-01T00:00:00Z", "window_end_time": "2027-02-01T00:00:00Z"}),
            ),
            ("ServiceAccountService/ListServiceAccounts", json!({})),
            ("ServiceAccountService/GetPermissionCatalog", json!({})),
            ("SuspensionService/ListSuspensions", json!({})),
            (
                "OneTimeCodeService/GetOneTimeCode",
                json!({"member_id": sample.pupil.member_id}),
            ),
            ("DutyService/ListDuties", json!({})),
            (
                "MessageService/SendMessage",
                json!({"chat_id": chat, "text": "Домашнее задание"}),
            ),
            ("MessageService/MarkRead", json!({"chat_id": chat, "seq": "1"})),
        ] {
            // Forbidden callers are refused. Refusals read tables too.
            let _ = who.client.call(rpc, body).await;
        }
        for (rpc, body) in [
            ("AuthenticationService/ListSessions", json!({})),
            ("AuthenticationService/ListMemberships", json!({})),
            ("AppointmentService/ListAppointments", json!({})),
        ] {
            who.account.client.must(rpc, body).await;
        }
        who.client
            .open("LiveService/SubscribeChats", json!({}))
            .await
            .unwrap()
            .message()
            .await
            .unwrap();
    }
    for (rpc, body) in [
        ("ApplicationService/ListApplications", json!({})),
        ("OrganizationService/ListOrganizations", json!({})),
        ("PolicyService/ListPendingPolicyChanges", json!({})),
        ("OperatorService/ListOutboxMessages", json!({})),
        ("OrgRegistryJobService/ListJobs", json!({})),
        ("OrgRegistryQuarantineService/GetConsumerStatus", json!({})),
        ("OrgRegistryQuarantineService/ListQuarantines", json!({})),
        ("MembershipJobService/ListJobs", json!({})),
        ("MembershipQuarantineService/GetConsumerStatus", json!({})),
        ("MembershipQuarantineService/ListQuarantines", json!({})),
        ("InvitationJobService/ListJobs", json!({})),
        ("InvitationQuarantineService/GetConsumerStatus", json!({})),
        ("InvitationQuarantineService/ListQuarantines", json!({})),
        ("ChatJobService/ListJobs", json!({})),
        ("ChatQuarantineService/GetConsumerStatus", json!({})),
        ("ChatQuarantineService/ListQuarantines", json!({})),
        ("CallSchedulingJobService/ListJobs", json!({})),
        ("CallSchedulingQuarantineService/GetConsumerStatus", json!({})),
        ("CallSchedulingQuarantineService/ListQuarantines", json!({})),
    ] {
        suite.operator().must(rpc, body).await;
    }
    let school = School::clone(&sample.school).with(suite, admin.clone());
    let other = school.class("6Б").await;
    let newcomer = school.pupil(&leader, "Анна Новикова", class).await;
    let transfer = json!({"member_id": newcomer.member_id, "from_unit_id": class, "to_unit_id": other});
    admin
        .client
        .must("EnrollmentService/TransferPupil", transfer)
        .await;
    let left = json!({"member_id": newcomer.member_id});
    admin.client.must("MemberService/RemoveMember", left).await;
    let link = json!({"invitation_id": sample.invitation});
    leader
        .client
        .must("InvitationService/GetInvitationLink", link.clone())
        .await;
    leader
        .client
        .must("InvitationService/RevokeInvitation", link)
        .await;
    let bulk_revoke = json!({"condition": "REVOCATION_CONDITION_UNUSED", "dry_run": true});
    admin
        .client
        .must("InvitationService/BulkRevokeInvitations", bulk_revoke)
        .await;
    let custom = json!({"title": "Поход", "member_ids": [sample.pupil.member_id]});
    leader.client.must("ChatService/CreateChat", custom).await;
    let direct = json!({"member_id": sample.parent.member_id});
    leader.client.must("ChatService/CreateDirectChat", direct).await;
    let cancel = json!({"call_id": sample.call});
    leader.client.must("CallService/CancelCall", cancel).await;
}

on_postgres!(
    requests_scan_no_large_table,
    "SQLite does not count the rows that it reads from end to end",
    |database: TestDatabase| async move {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut databases = BTreeMap::new();
        for service in &parta::SERVICES {
            databases.insert(service.section(), database.another().await);
        }
        let suite = suite_on(&databases, &folder).await;
        let sample = create_sample_school(&suite).await;
        suite.stop().await;
        join_all(databases.values().map(|database| grow(database.url()))).await;

        let suite = suite_on(&databases, &folder).await;
        send_daily_requests(&suite, &sample).await;
        // The counters are complete once the connections are closed.
        suite.stop().await;
        let (mut whole, mut large) = (Vec::new(), 0);
        for (section, database) in &databases {
            let (tables, count) = read_whole(database.url()).await;
            whole.extend(tables.iter().map(|table| format!("{section}.{table}")));
            large += count;
        }
        assert!(large >= 20, "only {large} tables were large");
        assert!(whole.is_empty(), "read from end to end: {whole:#?}");
    }
);
