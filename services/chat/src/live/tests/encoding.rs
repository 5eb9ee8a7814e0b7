use parta_ids::{EntryId, TypedId as _};

use super::super::*;

#[test]
fn response_is_encoded_once_at_its_first_use() {
    let entry = Entry {
        org_id: OrgId::from_uuid(Uuid::from_u128(1)),
        chat_id: ChatId::from_uuid(Uuid::from_u128(2)),
        seq: 3,
        entry_id: EntryId::from_uuid(Uuid::from_u128(4)),
        create_time: chrono::DateTime::UNIX_EPOCH,
        content: Content::Message {
            sender: MemberId::from_uuid(Uuid::from_u128(5)),
            text: "Привет".to_owned(),
            service: None,
        },
    };
    let live = LiveEntry::from(entry.clone());
    assert_eq!(live.response.encoded.get(), None);
    let (one, other) = (live.response.bytes(), live.response.bytes());
    assert_eq!(one, wire::response(Item::Entry(entry_to_proto(entry, None))));
    assert_eq!(one.as_ptr(), other.as_ptr());
}
