//! The migration that makes members of the staff responsible for the named chats that exist.
use parta_access::OrgScope;
use parta_ids::{ChatId, MemberId, OrgId, TypedId};
use parta_service_testkit::ServiceEnv;
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait as _, EntityTrait as _, Statement, Value};

use crate::entries::{ChatKind, ParticipantKind, find_chat, participant};

const CHAT: &str = "INSERT INTO chat (org_id, chat_id, kind, label, create_time, head_seq, audience_version, \
    unsupervised) VALUES ($1, $2, $3, '', $4, 9, 1, FALSE)";
const PARTICIPANT: &str = "INSERT INTO participant (org_id, chat_id, member_id, joined_seq, left_seq, read_seq, \
    may_post, kind) VALUES ($1, $2, $3, $4, $5, 0, TRUE, $6)";

// Covers: R70 allowed
on_both!(existing_chats_get_a_responsible_member, |database| async move {
    let mut earlier = crate::migrations();
    earlier.retain(|migration| migration.name() != "chat_0005_responsible");
    let env = ServiceEnv::open_in_real_time(&database, "chat", earlier).await;
    let run = async |sql: &str, values: Vec<Value>| {
        let statement = Statement::from_sql_and_values(env.db.backend(), sql, values);
        env.db.writer().execute_raw(statement).await.unwrap();
    };
    let (org, ids) = (env.env.id::<OrgId>(), || env.env.id::<MemberId>());
    let [first, cleared, second, pupil, former] = std::array::from_fn(|_| ids());
    let insert = async |kind: ChatKind, people: &[(MemberId, i64, Option<i64>, ParticipantKind)]| {
        let chat = env.env.id::<ChatId>();
        let now = env.env.now();
        let row = vec![
            org.uuid().into(),
            chat.uuid().into(),
            (kind as i16).into(),
            now.into(),
        ];
        run(CHAT, row).await;
        for (member, joined, left, kind) in people {
            let row = vec![
                org.uuid().into(),
                chat.uuid().into(),
                member.uuid().into(),
                (*joined).into(),
                (*left).into(),
                (*kind as i16).into(),
            ];
            run(PARTICIPANT, row).await;
        }
        chat
    };
    use ParticipantKind::{ClearedStaff, Pupil, Staff};
    let led = insert(
        ChatKind::Custom,
        &[
            (pupil, 1, None, Pupil),
            (first, 2, None, Staff),
            (former, 3, Some(8), ClearedStaff),
            (second, 5, None, ClearedStaff),
            (cleared, 4, None, ClearedStaff),
        ],
    )
    .await;
    let alone = insert(ChatKind::Custom, &[(pupil, 1, None, Pupil)]).await;
    let empty = insert(ChatKind::Custom, &[(former, 1, Some(2), Staff)]).await;
    let class = insert(ChatKind::ClassPupils, &[(first, 1, None, ClearedStaff)]).await;
    env.db.migrate(crate::migrations()).await.unwrap();
    let scope = OrgScope::for_consumer("chat.test", org);
    for (chat, responsible, unsupervised) in [
        (led, Some(cleared), false),
        (alone, None, true),
        (empty, None, false),
        (class, None, false),
    ] {
        let row = find_chat(env.db.conn(), &scope, chat).await.unwrap().unwrap();
        let responsible = responsible.map(TypedId::uuid);
        assert_eq!(
            (row.responsible_id, row.unsupervised),
            (responsible, unsupervised)
        );
    }
    let rows = participant::Entity::find().all(env.db.conn()).await.unwrap();
    assert!(rows.iter().all(|row| row.visible_after == 0));
});
