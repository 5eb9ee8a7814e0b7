use std::time::Duration;

use parta_ids::{OrgId, TypedId, Uuid};
use parta_proto::status::v1::ErrorReason;
use tonic::{Code, Status};

use crate::{FieldViolations, RpcError, field};

#[test]
fn missing_metadata_of_a_reason_is_reported() {
    assert_eq!(
        crate::unavailable("membership").missing_metadata(ErrorReason::DependencyUnavailable),
        Vec::<&str>::new()
    );
    assert_eq!(
        RpcError::new(ErrorReason::DependencyUnavailable, "")
            .missing_metadata(ErrorReason::DependencyUnavailable),
        ["dependency"]
    );
}

#[test]
fn refusal_survives_encoding() {
    let refusal = RpcError::new(ErrorReason::RateLimited, "slow down")
        .meta("limit", "otp")
        .field("contact.phone", "is no phone")
        .resource("member", "mbr_x")
        .precondition("STATE", "mbr_x", "has left")
        .quota("phone", "5 an hour")
        .retry_after(Duration::from_secs(30));
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    let status = Status::from(refusal.clone());
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(RpcError::from_status(&status), Some(refusal));
    #[expect(clippy::disallowed_methods, reason = "a status without a documented reason")]
    let foreign = Status::internal("no details");
    assert_eq!(RpcError::from_status(&foreign), None);
}

#[test]
fn all_violations_of_a_request_are_reported() {
    let mut violations = FieldViolations::default();
    field::text(&mut violations, "label", "", 1..=64, false);
    field::text(&mut violations, "name", "a\0b", 1..=64, false);
    field::text(&mut violations, "note", "two\nlines", 1..=64, true);
    field::id::<OrgId>(&mut violations, "org_id", "mbr_00000000000000000000000000");
    let refusal = violations.finish().unwrap_err();
    let paths: Vec<_> = refusal.fields().iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["label", "name", "org_id"]);
    assert_eq!(refusal.code(), Code::InvalidArgument);
}

proptest::proptest! {
    #[test]
    fn every_refusal_survives_encoding(
        message in ".*", key in "[a-z_]{1,10}", value in ".*", kind in ".+", subject in ".*", path in ".*",
        millis in 0u64..100_000_000, which in 0u8..16,
    ) {
        let mut refusal = RpcError::new(ErrorReason::NotFound, message).meta(&key, &value);
        if which & 1 != 0 {
            refusal = refusal.field(&path, &value).field(&subject, &path);
        }
        if which & 2 != 0 {
            refusal = refusal.resource(&kind, &subject).quota(&subject, &value);
        }
        if which & 4 != 0 {
            refusal = refusal.precondition(&kind, &subject, &value);
        }
        if which & 8 != 0 {
            refusal = refusal.retry_after(Duration::from_millis(millis));
        }
        let status = Status::from(refusal.clone());
        proptest::prop_assert_eq!(RpcError::from_status(&status), Some(refusal));
    }

    #[test]
    fn valid_text_has_no_control_characters_and_the_right_length(value in ".{0,20}") {
        let mut violations = FieldViolations::default();
        let kept = field::text(&mut violations, "f", &value, 1..=10, false);
        if violations.finish().is_ok() {
            proptest::prop_assert!((1..=10).contains(&kept.chars().count()) && !kept.chars().any(char::is_control));
        }
    }

    #[test]
    fn valid_id_is_accepted(bits: u128) {
        let id = OrgId::from_uuid(Uuid::from_u128(bits));
        let mut violations = FieldViolations::default();
        proptest::prop_assert_eq!(field::id::<OrgId>(&mut violations, "f", &id.to_string()), Some(id));
        proptest::prop_assert!(violations.finish().is_ok());
    }
}
