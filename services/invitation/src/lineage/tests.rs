//! R17: who joined with a link.
use std::collections::BTreeSet;

use parta_proto_invitation::v1 as pb;
use parta_service_testkit::reason;
use parta_testkit::on_both;

use crate::tests::fixture::Fixture;

// Managers of a link see who joined with it; other members are refused.
// Covers: R17 allowed, R17 refused
on_both!(uses_of_a_link_list_its_members, |database| async move {
    let fixture = Fixture::open(&database).await;
    let (id, token) = fixture.link(2).await;
    let mut joined = BTreeSet::new();
    for _ in 0..2 {
        joined.insert(fixture.accept(fixture.flow(), &token).await.unwrap().member_id);
    }
    let list = async |member| {
        let request = pb::ListInvitationUsesRequest {
            org_id: fixture.school.org.to_string(),
            invitation_id: id.clone(),
            ..Default::default()
        };
        fixture
            .client
            .clone()
            .list_invitation_uses(
                fixture
                    .test_env
                    .member_request(fixture.school.org, member, request),
            )
            .await
    };
    let uses = list(fixture.school.class_teacher)
        .await
        .unwrap()
        .into_inner()
        .uses;
    assert_eq!(
        uses.into_iter().map(|u| u.member_id).collect::<BTreeSet<_>>(),
        joined
    );
    assert_eq!(reason(&list(fixture.school.teacher).await), "PERMISSION_DENIED");
    assert_eq!(reason(&list(fixture.school.parent).await), "PERMISSION_DENIED");
});
