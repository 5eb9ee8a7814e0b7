//! Cursors survive encoding, and changed cursors are refused.

use parta_access::Secrets;
use parta_feed::Cursor;
use proptest::prelude::*;
use uuid::Uuid;

proptest! {
    #[test]
    fn cursor_survives_encoding(incarnation: u128, position in 0..i64::MAX) {
        let secrets = Secrets::new([7; 32]);
        let cursor = Cursor { incarnation: Uuid::from_u128(incarnation), position };
        let text = cursor.encode(&secrets);
        prop_assert_eq!(Cursor::decode(&text, &secrets).unwrap(), cursor);
        prop_assert_eq!(Cursor::peek(&text), Some(cursor));
        prop_assert!(Cursor::decode(&text, &Secrets::new([8; 32])).is_err());
    }

    #[test]
    fn changed_cursor_is_refused(position in 0..i64::MAX, at: prop::sample::Index, with in "[A-Za-z0-9_-]") {
        let secrets = Secrets::new([7; 32]);
        let text = Cursor { incarnation: Uuid::from_u128(1), position }.encode(&secrets);
        let at = at.index(text.len());
        let mut changed = text.clone();
        changed.replace_range(at..=at, &with);
        prop_assert_eq!(Cursor::decode(&changed, &secrets).is_ok(), changed == text);
    }

    #[test]
    fn arbitrary_text_is_refused(text in ".*") {
        let refused = Cursor::decode(&text, &Secrets::new([7; 32])).unwrap_err();
        prop_assert_eq!(refused.fields()[0].0.as_str(), "cursor");
    }
}
