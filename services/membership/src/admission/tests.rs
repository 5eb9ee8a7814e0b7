//! Admission with an invitation, and the guardianship that it creates (R14, R16, R27).
use parta_ids::{InvitationId, MemberId};
use parta_proto_membership::{
    internal::v1::{AdmitMemberRequest, AdmitMemberResponse, CancelAdmissionRequest},
    v1::{self as pb, AssignmentKind, Role},
};
use parta_service_testkit::fields;
use parta_testkit::on_both;
use tonic::Status;

use crate::tests::test_env::{TestEnv, by, org, reason, unit};

fn request(test_env: &TestEnv, flow_id: &str, role: Role) -> AdmitMemberRequest {
    AdmitMemberRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        invitation_id: test_env.env.id::<InvitationId>().to_string(),
        flow_id: flow_id.to_owned(),
        role: role.into(),
        issuer_id: test_env.env.id::<MemberId>().to_string(),
        ..Default::default()
    }
}

// An internal RPC, which covers no requirement. A repeated admission of one person returns the same member,
// and a record can be claimed once.
on_both!(invitation_admits_a_person_once, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let person = test_env.newcomer("+79161111111", "Ева Орлова").await;
    let flow = test_env.flow(&person, "link").await;
    assert_eq!(test_env.flow(&person, "link").await, flow);
    let class = Some(unit(1));
    let created = test_env.create_member(&administrator, "Орлова Ева", Role::Pupil, class);
    let expected = created.await.unwrap().id;
    let claim = AdmitMemberRequest {
        claim_member_id: expected.clone(),
        ..request(&test_env, &flow, Role::Pupil)
    };
    let first = test_env
        .admission()
        .admit_member(claim.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (first.member_id.as_str(), first.already_member),
        (expected.as_str(), false)
    );
    let again = AdmitMemberRequest {
        request_id: test_env.act(),
        ..claim.clone()
    };
    let again = test_env
        .admission()
        .admit_member(again)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((again.member_id, again.already_member), (expected.clone(), true));
    let other = test_env.newcomer("+79162222222", "Чужой").await;
    let flow = test_env.flow(&other, "link").await;
    let taken = AdmitMemberRequest {
        claim_member_id: expected,
        ..request(&test_env, &flow, Role::Pupil)
    };
    assert_eq!(
        reason(&test_env.admission().admit_member(taken).await),
        "ALREADY_CLAIMED"
    );
    let unknown = request(
        &test_env,
        &test_env.env.id::<parta_ids::FlowId>().to_string(),
        Role::Teacher,
    );
    assert_eq!(
        reason(&test_env.admission().admit_member(unknown).await),
        "JOIN_FLOW_UNKNOWN"
    );
    let administrator = request(&test_env, &flow, Role::Administrator);
    assert_eq!(
        reason(&test_env.admission().admit_member(administrator).await),
        "FIELD_INVALID"
    );
    test_env.close().await;
});

// A parent's link creates the guardianship, staff confirm it, and ending it revokes the access immediately.
// Covers: R27 allowed, R27 refused, R28 refused
on_both!(guardianship_requires_confirmation, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let class = unit(1).to_string();
    let child = test_env
        .join("+79161111111", "Ян Котов", Role::Pupil, |r| {
            r.unit_id = class.clone();
        })
        .await;
    let child_id = child.member_id.clone();
    let parent = test_env
        .join("+79162222222", "Мария Котова", Role::Parent, |r| {
            r.child_id = child_id.clone();
        })
        .await;
    assert_eq!(test_env.list(&parent).await.unwrap(), ["Мария Котова"]);
    let teacher = test_env
        .join("+79163333333", "Олег Волков", Role::Teacher, |_| ())
        .await;
    test_env
        .verify_teacher(&administrator, &teacher.member_id)
        .await
        .unwrap();
    let list = pb::ListGuardianshipsRequest {
        org_id: org(1).to_string(),
        ..Default::default()
    };
    let pending = test_env
        .guardianships()
        .list_guardianships(by(&parent.token, list.clone()))
        .await
        .unwrap();
    let pending = pending.into_inner().guardianships;
    assert_eq!((pending.len(), pending[0].confirmed), (1, false));
    let confirm = |test_env: &TestEnv| pb::ConfirmGuardianshipRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        guardianship_id: pending[0].id.clone(),
        ..Default::default()
    };
    let mut api = test_env.guardianships();
    assert_eq!(
        reason(
            &api.confirm_guardianship(by(&parent.token, confirm(&test_env)))
                .await
        ),
        "PERMISSION_DENIED"
    );
    assert_eq!(
        reason(
            &api.confirm_guardianship(by(&teacher.token, confirm(&test_env)))
                .await
        ),
        "NOT_FOUND"
    );
    test_env
        .assign(
            &administrator,
            &teacher.member_id,
            unit(1),
            AssignmentKind::ClassTeacher,
        )
        .await
        .unwrap();
    api.confirm_guardianship(by(&teacher.token, confirm(&test_env)))
        .await
        .unwrap();
    assert_eq!(
        test_env.list(&parent).await.unwrap(),
        ["Ян Котов", "Мария Котова", "Олег Волков"]
    );
    let end = |test_env: &TestEnv| pb::EndGuardianshipRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        guardianship_id: pending[0].id.clone(),
        cause: "Решение суда".to_owned(),
    };
    assert_eq!(
        reason(&api.end_guardianship(by(&parent.token, end(&test_env))).await),
        "PERMISSION_DENIED"
    );
    api.end_guardianship(by(&administrator.token, end(&test_env)))
        .await
        .unwrap();
    assert_eq!(test_env.list(&parent).await.unwrap(), ["Мария Котова"]);
    test_env.close().await;
});

async fn cancel(
    test_env: &TestEnv,
    request_id: &str,
    admission: &AdmitMemberRequest,
) -> Result<Option<AdmitMemberResponse>, Status> {
    let request = CancelAdmissionRequest {
        request_id: request_id.to_owned(),
        admission: Some(admission.clone()),
    };
    let canceled = test_env.admission().cancel_admission(request).await?;
    Ok(canceled.into_inner().admission)
}

async fn of_pupil(test_env: &TestEnv, phone: &str) -> AdmitMemberRequest {
    let person = test_env.newcomer(phone, "Ева Орлова").await;
    let flow = test_env.flow(&person, phone).await;
    AdmitMemberRequest {
        unit_id: unit(1).to_string(),
        ..request(test_env, &flow, Role::Pupil)
    }
}

// Covers: F18 refused
on_both!(canceled_admission_is_refused, |database| async move {
    let test_env = TestEnv::open(database).await;
    let admission = of_pupil(&test_env, "+79161111111").await;
    let act = test_env.act();
    for request_id in [&act, &act, &test_env.act()] {
        assert_eq!(cancel(&test_env, request_id, &admission).await.unwrap(), None);
    }
    for _ in 0..2 {
        let late = test_env.admission().admit_member(admission.clone()).await;
        assert_eq!(reason(&late), "INVITATION_ENDED");
    }
    // Another acceptance by the same link is another matter.
    let other = AdmitMemberRequest {
        request_id: test_env.act(),
        ..admission
    };
    test_env.admission().admit_member(other).await.unwrap();
    test_env.close().await;
});

// Covers: F18 allowed
on_both!(cancellation_finds_what_was_done, |database| async move {
    let test_env = TestEnv::open(database).await;
    let mut requests = vec![of_pupil(&test_env, "+79161111111").await];
    requests.push(AdmitMemberRequest {
        open: true,
        ..of_pupil(&test_env, "+79162222222").await
    });
    for admission in requests {
        let admitted = test_env.admission().admit_member(admission.clone()).await;
        let admitted = AdmitMemberResponse {
            consistency_token: String::new(),
            ..admitted.unwrap().into_inner()
        };
        for _ in 0..2 {
            let found = cancel(&test_env, &test_env.act(), &admission).await.unwrap();
            assert_eq!(found.as_ref(), Some(&admitted));
        }
        test_env.admission().admit_member(admission).await.unwrap();
    }
    test_env.close().await;
});

// Covers: F18 refused
on_both!(cancellation_meets_its_admission, |database| async move {
    let test_env = TestEnv::open(database).await;
    for round in 0..8 {
        let phone = format!("+7916{:07}", 7_000_000 + round);
        let admission = of_pupil(&test_env, &phone).await;
        let mut api = test_env.admission();
        let act = test_env.act();
        let (admitted, canceled) = futures::future::join(
            api.admit_member(admission.clone()),
            cancel(&test_env, &act, &admission),
        )
        .await;
        match (admitted, canceled.unwrap()) {
            (Ok(admitted), Some(found)) => assert_eq!(admitted.into_inner().member_id, found.member_id),
            (Err(refused), None) => assert_eq!(reason(&Err::<(), _>(refused)), "INVITATION_ENDED"),
            other => panic!("round {round}: {other:?}"),
        }
    }
    test_env.close().await;
});

on_both!(wrong_fields_of_a_cancellation_are_named, |database| async move {
    let test_env = TestEnv::open(database).await;
    let empty = cancel(&test_env, "no UUID", &AdmitMemberRequest::default()).await;
    assert_eq!(
        fields(&empty.unwrap_err()),
        ["admission.org_id", "admission.request_id", "request_id"]
    );
    test_env.close().await;
});
