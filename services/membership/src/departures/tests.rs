//! Members who left and come back: nothing of the earlier membership comes back with them (R24).
mod reasons;

use parta_ids::{InvitationId, TypedId as _};
use parta_proto_membership::{
    internal::v1::AdmitMemberRequest,
    v1::{
        self as pb, AssignmentKind, MemberState, Role, RosterImportState, check_roster_import_request::Part,
    },
};
use parta_testkit::on_both;
use tonic::Status;

use crate::tests::test_env::{MemberSession, Person, TestEnv, by, org, reason, unit};

async fn change_roles(test_env: &TestEnv, by_whom: &MemberSession, member_id: &str, roles: &[Role]) {
    let changed = test_env.change_roles(by_whom, member_id, roles);
    changed.await.unwrap();
}

async fn remove(test_env: &TestEnv, by_whom: &MemberSession, member_id: &str) {
    test_env.remove(by_whom, member_id, "").await.unwrap();
}

/// Admits a person with a new invitation and returns its id.
async fn admit(test_env: &TestEnv, person: &Person, link: &str, role: Role) -> String {
    let request = AdmitMemberRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        invitation_id: test_env.env.id::<InvitationId>().to_string(),
        flow_id: test_env.flow(person, link).await,
        role: role.into(),
        ..Default::default()
    };
    let invitation_id = request.invitation_id.clone();
    test_env.admission().admit_member(request).await.unwrap();
    invitation_id
}

async fn member(test_env: &TestEnv, by_whom: &MemberSession, member_id: &str) -> pb::Member {
    let request = pb::GetMemberRequest {
        org_id: org(1).to_string(),
        member_id: member_id.to_owned(),
    };
    let found = test_env.members().get_member(by(&by_whom.token, request)).await;
    found.unwrap().into_inner().member.unwrap()
}

async fn assignments(test_env: &TestEnv, by_whom: &MemberSession, member_id: &str) -> usize {
    let request = pb::ListAssignmentsRequest {
        org_id: org(1).to_string(),
        member_id: member_id.to_owned(),
        ..Default::default()
    };
    let mut api = test_env.assignments();
    let listed = api.list_assignments(by(&by_whom.token, request)).await;
    listed.unwrap().into_inner().assignments.len()
}

/// Makes the appointment of the first organization claimable again, as a new order of its head will (R24).
async fn appoint_again(test_env: &TestEnv) {
    let unclaimed = "claim_account = NULL, claim_time = NULL";
    test_env
        .change_row("appointment", unclaimed, "org_id", org(1).uuid())
        .await;
}

// Covers: R3 allowed, R24 allowed
on_both!(claim_restores_no_earlier_membership, |database| async move {
    let test_env = TestEnv::open(database).await;
    let first = test_env.administrator(1).await;
    let second = test_env.second_administrator(&first).await;
    let id = first.member_id.clone();
    change_roles(
        &test_env,
        &second,
        &id,
        &[Role::Teacher, Role::Head, Role::Administrator],
    )
    .await;
    test_env.verify_teacher(&second, &id).await.unwrap();
    test_env
        .assign(&second, &id, unit(1), AssignmentKind::ClassTeacher)
        .await
        .unwrap();
    remove(&test_env, &second, &id).await;
    appoint_again(&test_env).await;
    let returned = test_env.claim(&first.person, org(1)).await.unwrap();
    assert_eq!((&returned.id, returned.state()), (&id, MemberState::Active));
    assert_eq!(returned.roles, [i32::from(Role::Administrator)]);
    assert_eq!(assignments(&test_env, &second, &id).await, 0);
    // The verification does not come back with the role.
    change_roles(&test_env, &second, &id, &[Role::Teacher]).await;
    assert!(!member(&test_env, &second, &id).await.teacher_verified);
    test_env.close().await;
});

// Covers: R16 allowed, R22 refused
on_both!(invitation_restores_no_earlier_membership, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    let id = teacher.member_id.clone();
    test_env.verify_teacher(&administrator, &id).await.unwrap();
    test_env
        .assign(&administrator, &id, unit(1), AssignmentKind::ClassTeacher)
        .await
        .unwrap();
    remove(&test_env, &administrator, &id).await;
    let invitation_id = admit(&test_env, &teacher.person, "second", Role::Staff).await;
    let returned = member(&test_env, &administrator, &id).await;
    assert_eq!(returned.roles, [i32::from(Role::Staff)]);
    assert_eq!(assignments(&test_env, &administrator, &id).await, 0);
    // Consumers of the feed learn the invitation of the present membership.
    let admitted = test_env.snapshot(org(1)).await;
    let admitted = admitted.iter().find(|admitted| admitted.member_id == id);
    assert_eq!(admitted.unwrap().invitation_id, invitation_id);
    // A further role does not begin another membership.
    admit(&test_env, &teacher.person, "third", Role::Teacher).await;
    let returned = member(&test_env, &administrator, &id).await;
    assert_eq!(returned.roles, [i32::from(Role::Teacher), i32::from(Role::Staff)]);
    assert!(!returned.teacher_verified);
    test_env.close().await;
});

// Consumers of the feed learn whether a removal had a cause, because named links depend on it. It outlasts
// the return of the person and a second removal without a cause.
// Covers: F8 allowed, R24 allowed
on_both!(feed_has_whether_a_removal_had_a_cause, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let teacher = test_env
        .join("+79161111111", "Олег Волков", Role::Teacher, |_| ())
        .await;
    let id = teacher.member_id.clone();
    let has_cause = async || {
        let admitted = test_env.snapshot(org(1)).await;
        let admitted = admitted.into_iter().find(|admitted| admitted.member_id == id);
        admitted.unwrap().removed_for_cause
    };
    remove(&test_env, &administrator, &id).await;
    assert!(!has_cause().await);
    admit(&test_env, &teacher.person, "second", Role::Staff).await;
    test_env.remove(&administrator, &id, "Приказ № 7").await.unwrap();
    assert!(has_cause().await);
    admit(&test_env, &teacher.person, "third", Role::Teacher).await;
    assert!(has_cause().await);
    remove(&test_env, &administrator, &id).await;
    assert!(has_cause().await);
    test_env.close().await;
});

// Covers: R3 refused, R24 refused
on_both!(
    removed_administrator_gets_no_repetition_of_the_claim,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let person = test_env.newcomer("+79160000001", "Анна Петрова").await;
        let claim = pb::ClaimAppointmentRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
        };
        let mut api = test_env.appointments();
        api.claim_appointment(by(&person.token, claim.clone()))
            .await
            .unwrap();
        let first = test_env.member_session(org(1), person.clone()).await.unwrap();
        let second = test_env.second_administrator(&first).await;
        // The right to claim was used up by the claim itself, so an active member gets the present record.
        change_roles(&test_env, &second, &first.member_id, &[Role::Staff]).await;
        let again = api.claim_appointment(by(&person.token, claim.clone())).await;
        let again = again.unwrap().into_inner().member.unwrap();
        assert_eq!(again.roles, [i32::from(Role::Staff)]);
        remove(&test_env, &second, &first.member_id).await;
        let refused = api.claim_appointment(by(&person.token, claim)).await;
        assert_eq!(reason(&refused), "NOT_FOUND");
        assert_eq!(
            refused.unwrap_err().message(),
            "There is no such organization, or you have no access to it."
        );
        test_env.close().await;
    }
);

// Covers: R29 refused
on_both!(
    session_ended_after_leaving_stays_ended_on_return,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let staff = test_env
            .join("+79161111111", "Олег Волков", Role::Staff, |_| ())
            .await;
        remove(&test_env, &administrator, &staff.member_id).await;
        let end = pb::EndSessionRequest {
            request_id: test_env.act(),
            session_id: String::new(),
        };
        test_env
            .authentication()
            .end_session(by(&staff.person.token, end))
            .await
            .unwrap();
        test_env.minute();
        let flow = test_env.request_code("+79161111111").await.unwrap().flow_id;
        test_env
            .verify(&flow, &test_env.code("+79161111111").await)
            .await
            .unwrap();
        let returned = test_env.start(&flow, &staff.person.account_id, "").await.unwrap();
        // Another role than before, for which nobody has to decide.
        admit(&test_env, &returned, "second", Role::Teacher).await;
        let returned = test_env.member_session(org(1), returned).await.unwrap();
        assert_eq!(test_env.list(&returned).await.unwrap().len(), 2);
        assert_eq!(reason(&test_env.list(&staff).await), "CREDENTIAL_REVOKED");
        test_env.close().await;
    }
);

/// Checks a set of files with one pupil in a class.
async fn check(test_env: &TestEnv, caller: &MemberSession, class: &str) -> Result<pb::RosterImport, Status> {
    let header = Part::Header(pb::CheckRosterImportHeader {
        org_id: org(1).to_string(),
    });
    let chunk = |file_name: &str, text: String| {
        Part::Chunk(pb::RosterFileChunk {
            file_name: file_name.to_owned(),
            data: text.into_bytes().into(),
        })
    };
    let users = "sourcedId,role,givenName,familyName\np1,student,Ян,Котов\n";
    let enrollments = format!("sourcedId,classSourcedId,userSourcedId,role\ne1,{class},p1,student\n");
    let parts = [
        header,
        chunk("orgs.csv", "sourcedId,name,type\no1,Школа,school\n".to_owned()),
        chunk("users.csv", users.to_owned()),
        chunk("classes.csv", "sourcedId,title\n1А,1А\n2А,2А\n".to_owned()),
        chunk("enrollments.csv", enrollments),
    ];
    let id = test_env.act();
    let messages = parts
        .into_iter()
        .enumerate()
        .map(|(index, part)| pb::CheckRosterImportRequest {
            request_id: if index == 0 { id.clone() } else { String::new() },
            part: Some(part),
        });
    let stream = futures::stream::iter(messages.collect::<Vec<_>>());
    let mut api = test_env.roster_imports();
    let response = api.check_roster_import(by(&caller.token, stream)).await?;
    Ok(response.into_inner().roster_import.unwrap())
}

async fn carry_out(test_env: &TestEnv, caller: &MemberSession, import: &pb::RosterImport) {
    let start = pb::StartRosterImportRequest {
        request_id: test_env.act(),
        org_id: org(1).to_string(),
        roster_import_id: import.id.clone(),
        etag: String::new(),
        confirmed_mass_changes: import.mass_changes.clone(),
    };
    let mut api = test_env.roster_imports();
    api.start_roster_import(by(&caller.token, start)).await.unwrap();
    test_env.run_due_jobs().await;
    let request = pb::GetRosterImportRequest {
        org_id: org(1).to_string(),
        roster_import_id: import.id.clone(),
    };
    let found = api.get_roster_import(by(&caller.token, request)).await.unwrap();
    let import = found.into_inner().roster_import.unwrap();
    assert_eq!(import.state(), RosterImportState::Done);
}

// Covers: R24 allowed, R31 allowed
on_both!(
    import_skips_a_member_who_was_removed_after_the_check,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let import = check(&test_env, &administrator, "1А").await.unwrap();
        carry_out(&test_env, &administrator, &import).await;
        let list = pb::ListMembersRequest {
            org_id: org(1).to_string(),
            role: Role::Pupil.into(),
            ..Default::default()
        };
        let listed = test_env
            .members()
            .list_members(by(&administrator.token, list))
            .await
            .unwrap();
        let pupil = listed.into_inner().members.remove(0);
        assert_eq!(pupil.unit_ids, [unit(1).to_string()]);
        test_env.minute();
        let import = check(&test_env, &administrator, "2А").await.unwrap();
        assert_eq!(import.planned.unwrap().enrollments_begun, 1);
        remove(&test_env, &administrator, &pupil.id).await;
        carry_out(&test_env, &administrator, &import).await;
        let left = member(&test_env, &administrator, &pupil.id).await;
        assert_eq!((left.state(), left.unit_ids.len()), (MemberState::Left, 0));
        test_env.close().await;
    }
);
