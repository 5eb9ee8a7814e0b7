//! The edge of a call: repetitions, and callers who have left the organization.
use parta_ids::{ChatId, EntryId, MemberId, TypedId as _};
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_proto_membership::v1::{self as members, membership_event::Payload as Member};
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::tests::school::*;

/// The code of a refusal and the type of the resource that it names.
fn resource<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> (Code, String) {
    let status = result.expect_err("a refusal");
    let named = status.get_error_details().resource_info().cloned();
    (
        status.code(),
        named.map(|info| info.resource_type).unwrap_or_default(),
    )
}

fn state(member: MemberId, state: MemberState, role: Role) -> Member {
    Member::MemberChanged(members::MemberChanged {
        member_id: member.to_string(),
        state: state.into(),
        roles: vec![role.into()],
        teacher_verified: true,
        ..Default::default()
    })
}

impl School {
    fn create_request(&self) -> pb::CreateChatRequest {
        pb::CreateChatRequest {
            request_id: new_uuid(&self.fixture).to_string(),
            org_id: self.org.to_string(),
            title: "Поход".into(),
            member_ids: vec![self.pupil.to_string()],
        }
    }

    async fn create(
        &self,
        caller: MemberId,
        request: &pb::CreateChatRequest,
    ) -> Result<pb::CreateChatResponse, tonic::Status> {
        let request = self.fixture.request(self.org, caller, request.clone());
        Ok(self.chats().create_chat(request).await?.into_inner())
    }

    pub(super) fn remove_request(&self, chat: ChatId, member: MemberId) -> pb::RemoveParticipantsRequest {
        pb::RemoveParticipantsRequest {
            request_id: new_uuid(&self.fixture).to_string(),
            org_id: self.org.to_string(),
            chat_id: chat.to_string(),
            member_ids: vec![member.to_string()],
        }
    }

    pub(super) async fn remove_with(
        &self,
        caller: MemberId,
        request: &pb::RemoveParticipantsRequest,
    ) -> Result<pb::RemoveParticipantsResponse, tonic::Status> {
        let request = self.fixture.request(self.org, caller, request.clone());
        Ok(self.chats().remove_participants(request).await?.into_inner())
    }
}

// Covers: R26 refused
on_both!(
    create_chat_is_not_found_when_repeated_after_departure,
    |database| async move {
        let s = School::open(database).await;
        let request = s.create_request();
        let chat = s.create(s.class_teacher, &request).await.unwrap().chat.unwrap();
        let again = s.create(s.class_teacher, &request).await.unwrap().chat.unwrap();
        assert_eq!(chat, again);
        s.apply(vec![state(s.class_teacher, MemberState::Left, Role::Teacher)])
            .await;
        let refused = resource(s.create(s.class_teacher, &request).await);
        assert_eq!(refused, (Code::NotFound, "organization".into()));
    }
);

on_both!(
    create_chat_is_refused_when_repeated_without_the_role,
    |database| async move {
        let s = School::open(database).await;
        let request = s.create_request();
        s.create(s.class_teacher, &request).await.unwrap();
        s.apply(vec![state(s.class_teacher, MemberState::Active, Role::Parent)])
            .await;
        let refused = code(s.create(s.class_teacher, &request).await);
        assert_eq!(refused.0, Code::PermissionDenied);
        let mut other = request.clone();
        other.title = "Другой поход".into();
        let refused = code(s.create(s.class_teacher, &other).await);
        assert_eq!(
            refused.0,
            Code::PermissionDenied,
            "the id is not confirmed to a caller without the right"
        );
    }
);

on_both!(
    create_chat_returns_the_present_chat_when_repeated,
    |database| async move {
        let s = School::open(database).await;
        let request = s.create_request();
        let chat = s.create(s.class_teacher, &request).await.unwrap().chat.unwrap();
        s.send(s.pupil, chat.id.parse().unwrap(), "Где встречаемся?")
            .await
            .unwrap();
        let again = s.create(s.class_teacher, &request).await.unwrap().chat.unwrap();
        assert_eq!(again.head_seq, chat.head_seq + 1);
        let mut other = request.clone();
        other.title = "Другой поход".into();
        let refused = code(s.create(s.class_teacher, &other).await);
        assert_eq!(refused, (Code::InvalidArgument, "REQUEST_ID_REUSED".into()));
    }
);

// The caller loses their own right by leaving the chat. The repetition succeeds nevertheless (ADR 0010).
on_both!(leaving_a_chat_succeeds_when_repeated, |database| async move {
    let s = School::open(database).await;
    let chat = s.create(s.class_teacher, &s.create_request()).await.unwrap();
    let chat: ChatId = chat.chat.unwrap().id.parse().unwrap();
    let request = s.remove_request(chat, s.pupil);
    let first = s.remove_with(s.pupil, &request).await.unwrap().chat.unwrap();
    assert!(first.left_seq.is_some());
    let again = s.remove_with(s.pupil, &request).await.unwrap().chat.unwrap();
    assert_eq!(first, again);
    let new = s.remove_request(chat, s.pupil);
    assert_eq!(
        resource(s.remove_with(s.pupil, &new).await),
        (Code::NotFound, "chat".into())
    );
});

on_both!(idempotency_record_holds_no_title, |database| async move {
    let s = School::open(database).await;
    s.create(s.class_teacher, &s.create_request()).await.unwrap();
    let sql = Statement::from_string(
        s.fixture.db.backend(),
        "SELECT response FROM idempotency_record WHERE rpc LIKE '%CreateChat'",
    );
    let rows = s.fixture.db.conn().query_all_raw(sql).await.unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let outcome: Vec<u8> = row.try_get_by_index(0).unwrap();
        let outcome = String::from_utf8(outcome).unwrap();
        assert!(!outcome.contains("Поход"), "{outcome:?}");
    }
});

// Covers: R26 refused
on_both!(
    member_who_left_gets_not_found_from_every_rpc,
    |database| async move {
        let s = School::open(database).await;
        let class = s.chat(s.pupil, ClassPupils).await;
        s.apply(vec![state(s.pupil, MemberState::Left, Role::Pupil)])
            .await;
        let outside = (Code::NotFound, "organization".to_owned());
        let org_id = s.org.to_string();
        let chat_id = class.to_string();
        let request_id = || new_uuid(&s.fixture).to_string();
        assert_eq!(resource(s.send(s.pupil, class, "нет").await), outside);
        assert_eq!(resource(s.read(s.pupil, class).await), outside);
        assert_eq!(resource(s.create(s.pupil, &s.create_request()).await), outside);
        assert_eq!(
            resource(s.remove_with(s.pupil, &s.remove_request(class, s.pupil)).await),
            outside
        );
        let (mut chats, mut messages) = (s.chats(), s.messages());
        let mark = pb::MarkReadRequest {
            org_id: org_id.clone(),
            chat_id: chat_id.clone(),
            seq: 1,
        };
        let mark = messages.mark_read(s.fixture.request(s.org, s.pupil, mark)).await;
        assert_eq!(resource(mark), outside);
        let direct = pb::CreateDirectChatRequest {
            request_id: request_id(),
            org_id: org_id.clone(),
            member_id: s.classmate.to_string(),
        };
        let direct = chats
            .create_direct_chat(s.fixture.request(s.org, s.pupil, direct))
            .await;
        assert_eq!(resource(direct), outside);
        let add = pb::AddParticipantsRequest {
            request_id: request_id(),
            org_id: org_id.clone(),
            chat_id: chat_id.clone(),
            member_ids: vec![s.classmate.to_string()],
        };
        let add = chats
            .add_participants(s.fixture.request(s.org, s.pupil, add))
            .await;
        assert_eq!(resource(add), outside);
        let get = pb::GetChatRequest {
            org_id: org_id.clone(),
            chat_id: chat_id.clone(),
        };
        let get = chats.get_chat(s.fixture.request(s.org, s.pupil, get)).await;
        assert_eq!(resource(get), outside);
        let list = pb::ListChatsRequest {
            org_id: org_id.clone(),
            ..Default::default()
        };
        let list = chats.list_chats(s.fixture.request(s.org, s.pupil, list)).await;
        assert_eq!(resource(list), outside);
        let people = pb::ListParticipantsRequest {
            org_id,
            chat_id,
            ..Default::default()
        };
        let people = chats
            .list_participants(s.fixture.request(s.org, s.pupil, people))
            .await;
        assert_eq!(resource(people), outside);
    }
);

on_both!(
    chat_is_unavailable_when_a_stored_kind_is_unknown,
    |database| async move {
        parta_testkit::logs().allow("a stored value is not known to this build");
        let s = School::open(database).await;
        let class = s.chat(s.pupil, ClassPupils).await;
        let sent = s.send(s.pupil, class, "раз").await.unwrap();
        let entry: EntryId = sent.entry_id.parse().unwrap();
        // The only chat in which this teacher writes. The other one is «Сотрудники».
        let staff_room = s.chat(s.unverified, StaffRoom).await;
        for (table, key, id, reader, chat) in [
            ("chat", "chat_id", class.uuid(), s.pupil, class),
            ("entry", "entry_id", entry.uuid(), s.pupil, class),
            (
                "participant",
                "may_post AND member_id",
                s.unverified.uuid(),
                s.unverified,
                staff_room,
            ),
        ] {
            s.read(reader, chat).await.unwrap();
            s.fixture.change_row(table, "kind = kind + 16384", key, id).await;
            let refused = code(s.read(reader, chat).await);
            let expected = (Code::Unavailable, "STORED_VALUE_UNKNOWN".into());
            assert_eq!(refused, expected, "{table}");
            if table != "entry" {
                let get = pb::GetChatRequest {
                    org_id: s.org.to_string(),
                    chat_id: chat.to_string(),
                };
                let mut chats = s.chats();
                let shown = chats.get_chat(s.fixture.request(s.org, reader, get));
                assert_eq!(code(shown.await), expected, "GetChat, {table}");
                let list = pb::ListChatsRequest {
                    org_id: s.org.to_string(),
                    ..Default::default()
                };
                let listed = chats.list_chats(s.fixture.request(s.org, reader, list));
                assert_eq!(code(listed.await), expected, "ListChats, {table}");
            }
            s.fixture.change_row(table, "kind = kind - 16384", key, id).await;
            s.read(reader, chat).await.unwrap();
        }
    }
);
