//! Etags and consistency tokens.

use parta_access::Secrets;
use parta_ids::{OrgId, TypedId};
use parta_mutations::{ConsistencyToken, ServicePosition, check_etag, etag};
use proptest::prelude::*;
use uuid::Uuid;

fn positions() -> impl Strategy<Value = Vec<ServicePosition>> {
    let mark = ("[a-c]", 0..3_u128, 0..9_i64).prop_map(|(service, epoch, position)| ServicePosition {
        service,
        epoch: Uuid::from_u128(epoch),
        position,
    });
    proptest::collection::vec(mark, 0..6)
}

fn org(n: u128) -> OrgId {
    OrgId::from_uuid(Uuid::from_u128(n))
}

proptest! {
    #[test]
    fn etag_identifies_one_revision(a: i64, b: i64) {
        prop_assert!(check_etag(&etag(a), a).is_ok());
        prop_assert_eq!(check_etag(&etag(a), b).is_ok(), a == b);
        prop_assert!(check_etag("", a).is_ok());
    }

    /// A consistency token keeps the latest position of each service and epoch, because no epoch is known to
    /// be the later one, and survives encoding.
    #[test]
    fn consistency_token_keeps_the_latest_positions(all in positions(), more in positions()) {
        let secrets = Secrets::new([7; 32]);
        let token = ConsistencyToken::new(org(1), all.clone());
        let token = token.merge(ConsistencyToken::new(org(1), more.clone())).unwrap();
        prop_assert_eq!(&token, &ConsistencyToken::new(org(1), more.iter().chain(&all).cloned()));
        for mark in all.iter().chain(&more) {
            let same = |m: &&ServicePosition| m.service == mark.service && m.epoch == mark.epoch;
            let kept: Vec<_> = token.positions().iter().filter(same).collect();
            prop_assert!(kept.len() == 1 && kept[0].position >= mark.position);
        }
        prop_assert_eq!(ConsistencyToken::decode(&token.encode(&secrets), &secrets).unwrap(), Some(token));
    }

    /// Only text that the server issued is accepted.
    #[test]
    fn changed_consistency_token_is_refused(all in positions(), at: prop::sample::Index, flip in 1_u8..) {
        let secrets = Secrets::new([7; 32]);
        let mut bytes = ConsistencyToken::new(org(1), all).encode(&secrets).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip & 0x7f | 1;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(ConsistencyToken::decode(&text, &secrets).is_err());
        }
    }

    /// A token belongs to one organization.
    #[test]
    fn tokens_of_two_organizations_are_not_merged(all in positions(), more in positions()) {
        let token = ConsistencyToken::new(org(1), all);
        prop_assert!(token.merge(ConsistencyToken::new(org(2), more)).is_err());
    }

    #[test]
    fn arbitrary_text_is_refused(text in ".+") {
        prop_assert!(ConsistencyToken::decode(&text, &Secrets::new([7; 32])).is_err());
    }
}
