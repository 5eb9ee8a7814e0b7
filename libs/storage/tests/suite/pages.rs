//! Page tokens, etags and consistency tokens.

use crate::support::Store;
use parta_access::{Caller, Principal, Secrets};
use parta_ids::{MemberId, OrgId, SessionId, TypedId};
use parta_storage::{ConsistencyToken, ServicePosition, check_etag, etag, page_size};
use parta_testkit::on_both;
use proptest::prelude::*;
use uuid::Uuid;

fn person(n: u128, rpc: &str) -> Caller {
    let principal = Principal::Person {
        org_id: OrgId::from_uuid(Uuid::from_u128(1)),
        member_id: MemberId::from_uuid(Uuid::from_u128(n)),
        session_id: SessionId::from_uuid(Uuid::from_u128(n)),
    };
    Caller::new(principal, rpc)
}

// A page token belongs to one caller, one list and one filter. Tokens of others and forged tokens are refused
// alike.
on_both!(page_token_is_valid_for_its_caller_only, |database| async move {
    let store = Store::open(&database, parta_storage::migrations()).await;
    let (db, list) = (&store.db, "parta.test.v1.TestService/ListThings");
    let me = person(1, list);
    let token = db.encode_page(&me, "kind=class", &("5А", 7));
    let read =
        |caller: &Caller, filter: &str, token: &str| db.decode_page::<(String, i64)>(caller, filter, token);
    assert_eq!(
        read(&me, "kind=class", &token).unwrap(),
        Some(("5А".to_owned(), 7))
    );
    assert_eq!(read(&me, "kind=class", "").unwrap(), None);
    for (caller, filter) in [
        (person(2, list), "kind=class"),
        (person(1, "parta.test.v1.TestService/ListOthers"), "kind=class"),
        (person(1, list), "kind=group"),
    ] {
        let refused = read(&caller, filter, &token).unwrap_err();
        assert_eq!(refused.fields()[0].0, "page_token");
    }
    assert!(read(&me, "kind=class", "AAAA").is_err());
});

#[test]
fn page_sizes_are_bounded() {
    assert_eq!(
        [0, 1, 200, 201, i32::MAX].map(|n| page_size(n).unwrap()),
        [50, 1, 200, 200, 200]
    );
    assert_eq!(page_size(-1).unwrap_err().fields()[0].0, "page_size");
}

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
