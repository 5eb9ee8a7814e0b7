//! Cursors survive encoding, and changed cursors are refused.

use parta_access::Secrets;
use parta_feed::Cursor;
use parta_ids::{OrgId, TypedId};
use proptest::prelude::*;
use uuid::Uuid;

fn org(n: u128) -> OrgId {
    OrgId::from_uuid(Uuid::from_u128(n))
}

fn cursor(org_id: u128, epoch: u128, position: i64, event_id: u128) -> Cursor {
    Cursor {
        org_id: org(org_id),
        epoch: Uuid::from_u128(epoch),
        position,
        event_id: Uuid::from_u128(event_id),
    }
}

proptest! {
    #[test]
    fn cursor_survives_encoding(org_id: u128, epoch: u128, position in 0..i64::MAX, event_id: u128) {
        let secrets = Secrets::new([7; 32]);
        let cursor = cursor(org_id, epoch, position, event_id);
        let text = cursor.encode(&secrets);
        prop_assert_eq!(Cursor::decode(&text, org(org_id), &secrets).unwrap(), cursor);
        prop_assert_eq!(Cursor::peek(&text), Some(cursor));
        prop_assert!(Cursor::decode(&text, org(org_id), &Secrets::new([8; 32])).is_err());
        prop_assert!(Cursor::decode(&text, org(org_id ^ 1), &secrets).is_err());
    }

    #[test]
    fn changed_cursor_is_refused(position in 0..i64::MAX, at: prop::sample::Index, with in "[A-Za-z0-9_-]") {
        let secrets = Secrets::new([7; 32]);
        let text = cursor(1, 2, position, 3).encode(&secrets);
        let at = at.index(text.len());
        let mut changed = text.clone();
        changed.replace_range(at..=at, &with);
        prop_assert_eq!(Cursor::decode(&changed, org(1), &secrets).is_ok(), changed == text);
    }

    #[test]
    fn arbitrary_text_is_refused(text in ".*") {
        let refused = Cursor::decode(&text, org(1), &Secrets::new([7; 32])).unwrap_err();
        prop_assert_eq!(refused.fields()[0].0.as_str(), "cursor");
    }
}
