use crate::{IdError, OrgId, TypedId, Uuid, typeid};

#[test]
fn published_test_vectors_pass() {
    for (uuid, suffix) in [
        (
            "00000000-0000-0000-0000-000000000000",
            "00000000000000000000000000",
        ),
        (
            "00000000-0000-0000-0000-000000000001",
            "00000000000000000000000001",
        ),
        (
            "00000000-0000-0000-0000-00000000000a",
            "0000000000000000000000000a",
        ),
        (
            "00000000-0000-0000-0000-000000000010",
            "0000000000000000000000000g",
        ),
        (
            "00000000-0000-0000-0000-000000000020",
            "00000000000000000000000010",
        ),
        (
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "7zzzzzzzzzzzzzzzzzzzzzzzzz",
        ),
        (
            "0110c853-1d09-52d8-d73e-1194e95b5f19",
            "0123456789abcdefghjkmnpqrs",
        ),
        (
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "01h455vb4pex5vsknk084sn02q",
        ),
    ] {
        let uuid: Uuid = uuid.parse().unwrap();
        assert_eq!(OrgId::from_uuid(uuid).to_string(), format!("org_{suffix}"));
        assert_eq!(typeid::decode(suffix), Some(uuid));
    }
}

#[test]
fn invalid_texts_of_the_specification_are_refused() {
    for text in [
        "ORG_00000000000000000000000000",
        "12345_00000000000000000000000000",
        "or.g_00000000000000000000000000",
        "орг_00000000000000000000000000",
        "  org_00000000000000000000000000",
        "org_",
        "_00000000000000000000000000",
        "org_1234567890123456789012345",
        "org_123456789012345678901234567",
        "org_1234567890123456789012345 ",
        "org_0123456789ABCDEFGHJKMNPQRS",
        "org_123456789-123456789-123456",
        "org_ooooooiiiiiiuuuuuuulllllll",
        "org_i23456789ol23456789oi23456",
        "org_123456789-0123456789-0123456",
        "org_8zzzzzzzzzzzzzzzzzzzzzzzzz",
        "",
        "mbr_00000000000000000000000000",
    ] {
        assert!(text.parse::<OrgId>().is_err(), "{text}");
    }
    assert_eq!("mbr_x".parse::<OrgId>(), Err(IdError::Prefix("org")));
}

#[test]
fn each_seed_has_its_own_repeatable_sequence() {
    use crate::{IdSource as _, SeededIds};
    let first: std::collections::BTreeSet<Uuid> = (0..64).map(|seed| SeededIds::new(seed).uuid()).collect();
    assert_eq!(first.len(), 64);
    let (a, b) = (SeededIds::new(7), SeededIds::new(7));
    assert!((0..100).all(|_| a.uuid() == b.uuid()));
    let c = SeededIds::new(7);
    assert!(c.uuid() < c.uuid());
}

#[test]
fn serde_encodes_an_id_as_its_text() {
    let id = OrgId::from_uuid(Uuid::from_u128(32));
    assert_eq!(
        serde_json::to_string(&id).unwrap(),
        "\"org_00000000000000000000000010\""
    );
    assert_eq!(
        serde_json::from_str::<OrgId>("\"org_00000000000000000000000010\"").unwrap(),
        id
    );
    assert!(serde_json::from_str::<OrgId>("\"mbr_00000000000000000000000010\"").is_err());
}

proptest::proptest! {
    #[test]
    fn every_id_survives_encoding(bits: u128) {
        let id = OrgId::from_uuid(Uuid::from_u128(bits));
        proptest::prop_assert_eq!(id.to_string().parse::<OrgId>(), Ok(id));
    }

    #[test]
    fn text_sorts_like_the_bits(a: u128, b: u128) {
        let (x, y) = (OrgId::from_uuid(Uuid::from_u128(a)), OrgId::from_uuid(Uuid::from_u128(b)));
        proptest::prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
    }

    #[test]
    fn parsing_never_panics(text in ".*") {
        let _ = text.parse::<OrgId>();
    }
}
