//! Etags and consistency tokens.

use parta_access::Secrets;
use parta_mutations::{ConsistencyToken, ServicePosition, check_etag, etag};
use proptest::prelude::*;
use uuid::Uuid;

fn marks() -> impl Strategy<Value = Vec<ServicePosition>> {
    let mark = ("[a-c]", 0..3_u128, 0..9_i64).prop_map(|(service, incarnation, position)| ServicePosition {
        service,
        incarnation: Uuid::from_u128(incarnation),
        position,
    });
    proptest::collection::vec(mark, 0..6)
}

proptest! {
    #[test]
    fn etag_identifies_one_revision(a: i64, b: i64) {
        prop_assert!(check_etag(&etag(a), a).is_ok());
        prop_assert_eq!(check_etag(&etag(a), b).is_ok(), a == b);
        prop_assert!(check_etag("", a).is_ok());
    }

    /// A consistency token keeps the latest position of each service and survives encoding.
    #[test]
    fn consistency_token_keeps_the_latest_positions(all in marks(), more in marks()) {
        let secrets = Secrets::new([7; 32]);
        let token = ConsistencyToken::new(all.clone()).merge(ConsistencyToken::new(more.clone()));
        prop_assert_eq!(&token, &ConsistencyToken::new(more.iter().chain(&all).cloned()));
        for mark in all.iter().chain(&more) {
            let kept = token.marks().iter().find(|m| m.service == mark.service);
            prop_assert!(kept.is_some_and(|m| (m.incarnation, m.position) >= (mark.incarnation, mark.position)));
        }
        prop_assert_eq!(ConsistencyToken::decode(&token.encode(&secrets), &secrets).unwrap(), token);
    }

    /// Only text that the server issued is accepted.
    #[test]
    fn changed_consistency_token_is_refused(all in marks(), at: prop::sample::Index, flip in 1_u8..) {
        let secrets = Secrets::new([7; 32]);
        let mut bytes = ConsistencyToken::new(all).encode(&secrets).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip & 0x7f | 1;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(ConsistencyToken::decode(&text, &secrets).is_err());
        }
    }

    #[test]
    fn arbitrary_text_is_refused(text in ".+") {
        prop_assert!(ConsistencyToken::decode(&text, &Secrets::new([7; 32])).is_err());
    }
}
