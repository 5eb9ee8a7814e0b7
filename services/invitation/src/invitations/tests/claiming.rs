//! Links that claim the record of an expected member (R14, F10).
use parta_ids::MemberId;
use parta_proto_invitation::v1 as pb;
use parta_proto_membership::v1::{MemberState, Role};
use parta_service_testkit::{fields, reason};
use parta_testkit::on_both;

use crate::tests::fixture::Fixture;

// Case 20: the administration makes a link for the record of an expected parent. It names no unit and no
// child, because the relations are those of the record, so a class teacher cannot make it.
// Covers: R14 allowed, R14 refused, F10 allowed, F10 refused
on_both!(link_claims_the_record_of_a_parent, |database| async move {
    let fixture = Fixture::open(&database).await;
    let s = fixture.school;
    let expected = fixture.test_env.env.id::<MemberId>();
    s.admit(
        &fixture.test_env,
        expected,
        Role::Parent,
        MemberState::Expected,
        false,
    )
    .await;
    let wanted = || pb::CreateInvitationRequest {
        unit_id: String::new(),
        child_id: String::new(),
        claim_member_id: expected.to_string(),
        ..fixture.wanted(Role::Parent)
    };
    let of_child = pb::CreateInvitationRequest {
        claim_member_id: expected.to_string(),
        ..fixture.wanted(Role::Parent)
    };
    let refused = fixture.create(s.administrator, of_child).await.unwrap_err();
    assert_eq!(fields(&refused), ["child_id", "unit_id"]);
    let of_nobody = pb::CreateInvitationRequest {
        claim_member_id: String::new(),
        ..wanted()
    };
    let refused = fixture.create(s.administrator, of_nobody).await.unwrap_err();
    assert_eq!(fields(&refused), ["child_id", "unit_id"]);
    let twice = pb::CreateInvitationRequest {
        max_uses: 2,
        ..wanted()
    };
    let refused = fixture.create(s.administrator, twice).await.unwrap_err();
    assert_eq!(fields(&refused), ["max_uses"]);
    for member in [s.class_teacher, s.teacher, s.parent] {
        assert_eq!(
            reason(&fixture.create(member, wanted()).await),
            "PERMISSION_DENIED"
        );
    }
    for not_expected in [s.parent, s.expected] {
        let of_other = pb::CreateInvitationRequest {
            claim_member_id: not_expected.to_string(),
            ..wanted()
        };
        assert_eq!(
            reason(&fixture.create(s.administrator, of_other).await),
            "MEMBER_NOT_EXPECTED"
        );
    }
    let made = fixture.create(s.administrator, wanted()).await.unwrap();
    let invitation = made.invitation.unwrap();
    assert_eq!((invitation.max_uses, invitation.named), (1, true));
    fixture
        .accept(fixture.flow(), &made.link.unwrap().link_token)
        .await
        .unwrap();
    let call = fixture.membership.calls().pop().unwrap();
    assert_eq!(
        (call.claim_member_id, call.child_id, call.role),
        (expected.to_string(), String::new(), i32::from(Role::Parent))
    );
});
