//! R39: messages, exactly once and in one order per chat.
use parta_proto_chat::v1::{self as pb, ChatKind::*};
use parta_testkit::on_both;
use tonic::Code;

use crate::tests::school::*;

// Covers: R39 allowed, R39 refused
on_both!(
    send_returns_the_stored_entry_when_repeated,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let id = new_uuid(&school.fixture);
        let first = school.send_as(school.pupil, class, id, "раз").await.unwrap();
        school.send(school.classmate, class, "два").await.unwrap();
        let again = school.send_as(school.pupil, class, id, "раз").await.unwrap();
        assert_eq!(first, again);
        let refused = code(school.send_as(school.pupil, class, id, "иначе").await);
        assert_eq!(refused, (Code::InvalidArgument, "REQUEST_ID_REUSED".into()));
        // The same request_id of another sender is another message.
        let other = school.send_as(school.classmate, class, id, "раз").await.unwrap();
        assert_eq!(other.seq, first.seq + 2);
        let log = school.read(school.pupil, class).await.unwrap();
        let texts: Vec<_> = log.iter().filter_map(text).collect();
        assert_eq!(texts, ["раз", "два", "раз"]);
        assert_eq!(
            log.iter().map(|e| e.seq).collect::<Vec<_>>(),
            (1..=other.seq).collect::<Vec<_>>()
        );
    }
);

// Covers: R39 allowed, R39 refused
on_both!(
    invalid_message_is_rejected_and_not_stored,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        let before = school.read(school.pupil, class).await.unwrap().len();
        for bad in ["", "  ", "\u{0}", &"я".repeat(4_001)] {
            assert_eq!(
                code(school.send(school.pupil, class, bad).await),
                (Code::InvalidArgument, "FIELD_INVALID".into())
            );
        }
        school
            .send(school.pupil, class, &"я".repeat(4_000))
            .await
            .unwrap();
        let refused = school
            .send_as(school.pupil, class, uuid::Uuid::nil(), "текст")
            .await;
        assert_eq!(code(refused).0, Code::InvalidArgument);
        assert_eq!(school.read(school.pupil, class).await.unwrap().len(), before + 1);
    }
);

// Covers: R39 allowed, R39 refused
on_both!(
    read_mark_moves_only_forward_and_counts_unread,
    |database| async move {
        let school = School::open(database).await;
        let class = school.chat(school.pupil, ClassPupils).await;
        for n in 0..3 {
            school
                .send(school.classmate, class, &n.to_string())
                .await
                .unwrap();
        }
        let head = school.read(school.pupil, class).await.unwrap().len() as i64;
        let mark = |seq: i64| {
            let request = pb::MarkReadRequest {
                org_id: school.org.to_string(),
                chat_id: class.to_string(),
                seq,
            };
            let request = school.fixture.request(school.org, school.pupil, request);
            let mut client = school.messages();
            async move {
                client
                    .mark_read(request)
                    .await
                    .map(|r| (r.get_ref().read_seq, r.get_ref().unread_count))
            }
        };
        let other_rows = async || {
            let mut counts = Vec::new();
            for table in ["idempotency_record", "audit_entry", "event"] {
                counts.push(school.fixture.count_rows(table).await);
            }
            counts
        };
        let before = other_rows().await;
        assert_eq!(mark(head - 1).await.unwrap(), (head - 1, 1));
        // The same and an earlier number change nothing.
        assert_eq!(mark(head - 1).await.unwrap(), (head - 1, 1));
        assert_eq!(mark(1).await.unwrap(), (head - 1, 1));
        assert_eq!(
            other_rows().await,
            before,
            "only the row of the participant changes"
        );
        assert_eq!(code(mark(head + 1).await).0, Code::InvalidArgument);
        let chat = school
            .list(school.pupil)
            .await
            .into_iter()
            .find(|c| c.id == class.to_string())
            .unwrap();
        assert_eq!(
            (chat.head_seq, chat.read_seq, chat.unread_count),
            (head, head - 1, 1)
        );
    }
);

// Covers: R39 allowed, R39 refused
on_both!(log_pages_contain_every_entry_once, |database| async move {
    let school = School::open(database).await;
    let class = school.chat(school.pupil, ClassPupils).await;
    for n in 0..7 {
        school.send(school.pupil, class, &n.to_string()).await.unwrap();
    }
    let all = school.read(school.pupil, class).await.unwrap();
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListEntriesRequest {
            org_id: school.org.to_string(),
            chat_id: class.to_string(),
            page_size: 3,
            page_token: token.clone(),
            ..Default::default()
        };
        let page = school
            .messages()
            .list_entries(school.fixture.request(school.org, school.pupil, request.clone()))
            .await;
        let page = page.unwrap().into_inner();
        seen.extend(page.entries);
        if !token.is_empty() {
            // The page token is valid only for this caller and this list.
            let stolen = school.fixture.request(school.org, school.classmate, request);
            assert_eq!(
                code(school.messages().list_entries(stolen).await).0,
                Code::InvalidArgument
            );
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    seen.reverse();
    assert_eq!(seen, all);
});
