//! The reasons of leaving, and what they allow later (R26, F9).
use parta_ids::InvitationId;
use parta_proto_membership::{
    internal::v1::{AdmitMemberRequest, AdmitMemberResponse},
    v1::{LeaveReason, MemberState, Role},
};
use parta_service_testkit::fields;
use parta_testkit::on_both;

use crate::tests::test_env::{Person, TestEnv, org, reason, unit};

/// Accepts another link that names the person.
async fn accept(test_env: &TestEnv, person: &Person, role: Role) -> AdmitMemberResponse {
    let link = test_env.env.id::<InvitationId>().to_string();
    let request = AdmitMemberRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        flow_id: test_env.flow(person, &link).await,
        invitation_id: link,
        role: role.into(),
        unit_id: if role == Role::Pupil {
            unit(1).to_string()
        } else {
            String::new()
        },
        ..Default::default()
    };
    let response = test_env.admission().admit_member(request).await;
    response.unwrap().into_inner()
}

// A graduate is admitted with another role, and requests the role of pupil again. Only a pupil
// graduates.
// Covers: R26 allowed, R26 refused, F9 allowed, F9 refused
on_both!(graduate_returns_with_another_role, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = test_env
        .class_teacher(&administrator, "+79161111111", unit(1))
        .await;
    let pupil = test_env.join_pupil("+79162222222", "Ева Орлова", 1).await;
    let graduated = ("", LeaveReason::Graduated);
    let refused = test_env.remove_for(&administrator, &teacher.member_id, graduated);
    assert_eq!(reason(&refused.await), "NOT_A_PUPIL");
    for (wrong, field) in [
        (("", LeaveReason::Source), "reason"),
        (("окончание", LeaveReason::Graduated), "cause"),
    ] {
        let refused = test_env.remove_for(&administrator, &pupil.member_id, wrong);
        assert_eq!(fields(&refused.await.unwrap_err()), [field]);
    }
    let left = test_env.remove_for(&administrator, &pupil.member_id, graduated);
    assert_eq!(left.await.unwrap().state(), MemberState::Left);
    let requested = accept(&test_env, &pupil.person, Role::Pupil).await;
    assert_eq!(requested.member_id, "");
    assert_ne!(requested.join_request_id, "");
    let admitted = accept(&test_env, &pupil.person, Role::Staff).await;
    assert_eq!(admitted.member_id, pupil.member_id);
    test_env.close().await;
});

// The head removes also the last administrator who has died, and states it. No link admits the person, but
// another person at the same address.
// Covers: R26 allowed, R26 refused, R24 allowed, F5 allowed
on_both!(no_link_admits_the_deceased, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let head = test_env
        .join("+79161111111", "Олег Волков", Role::Staff, |_| ())
        .await;
    let roles = [Role::Staff, Role::Head];
    let changed = test_env.change_roles(&administrator, &head.member_id, &roles);
    changed.await.unwrap();
    let id = &administrator.member_id;
    for unstated in [LeaveReason::Decision, LeaveReason::Deceased] {
        let refused = test_env.remove_for(&head, id, ("", unstated)).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED", "{unstated:?}");
    }
    let stated = ("свидетельство о смерти", LeaveReason::Deceased);
    let removed = test_env.remove_for(&head, id, stated).await;
    assert_eq!(removed.unwrap().state(), MemberState::Left);
    let person = &administrator.person;
    for role in [Role::Staff, Role::Teacher] {
        let requested = accept(&test_env, person, role).await;
        assert_eq!(requested.member_id, "", "{role:?}");
    }
    test_env.minute();
    let relative = test_env.newcomer("+79160000001", "Мария Петрова").await;
    let admitted = accept(&test_env, &relative, Role::Staff).await;
    assert_ne!(admitted.member_id, "");
    test_env.close().await;
});
