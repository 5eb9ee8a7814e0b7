//! The roles that one person may have, and the person for whom a link was made.
use super::*;

// Covers: F6 refused
on_both!(nobody_decides_the_own_request, |database| async move {
    let school = School::open(database).await;
    let own = AdmitMemberRequest {
        unit_id: String::new(),
        ..school
            .open_link(&school.administrator.person, Role::Teacher)
            .await
    };
    let requested = school.admit(own).await.unwrap().join_request_id;
    assert_eq!(
        reason(
            &school
                .decide(&school.administrator, &[(&requested, true, "")])
                .await
        ),
        "SECOND_PERSON_REQUIRED"
    );
    // A class teacher decides about no staff.
    assert_eq!(
        reason(&school.decide(&school.teacher, &[(&requested, true, "")]).await),
        "PERMISSION_DENIED"
    );
    school.env.close().await;
});

// Case 12: an adult member who opens a pupil link does not become a classmate.
// Covers: F7 refused, F9 refused
on_both!(adult_does_not_become_a_pupil, |database| async move {
    let school = School::open(database).await;
    let teacher = school
        .env
        .join("+79164444444", "Вера Орлова", Role::Teacher, |_| ())
        .await;
    let requested = school.request(&teacher.person, Role::Pupil).await;
    let accept = [(requested.as_str(), true, "")];
    assert_eq!(
        reason(&school.decide(&school.teacher, &accept).await),
        "ROLE_COMBINATION"
    );
    let named = AdmitMemberRequest {
        open: false,
        ..school.open_link(&teacher.person, Role::Pupil).await
    };
    assert_eq!(reason(&school.admit(named).await), "ROLE_COMBINATION");
    school
        .decide(&school.teacher, &[(&requested, false, "")])
        .await
        .unwrap();
    assert_eq!(
        reason(&school.withdraw(&teacher.person, &requested).await),
        "JOIN_REQUEST_DECIDED"
    );
    school.env.close().await;
});

// Covers: F7 allowed, F7 refused
on_both!(roles_that_do_not_fit_are_refused, |database| async move {
    let school = School::open(database).await;
    let pupil = school.env.join_pupil("+79161111111", "Ян Котов", 1).await;
    for roles in [
        vec![Role::Pupil, Role::Teacher],
        vec![Role::Pupil, Role::Staff],
        vec![Role::Pupil, Role::Parent],
    ] {
        assert_eq!(
            reason(&school.change_roles(&pupil.member_id, &roles).await),
            "ROLE_COMBINATION"
        );
    }
    let teacher = &school.teacher.member_id;
    school
        .change_roles(teacher, &[Role::Teacher, Role::Parent, Role::Head])
        .await
        .unwrap();
    let other = school
        .env
        .join("+79164444444", "Вера Орлова", Role::Staff, |_| ())
        .await;
    let second = school
        .change_roles(&other.member_id, &[Role::Staff, Role::Head])
        .await;
    assert_eq!(reason(&second), "ROLE_COMBINATION");
    school
        .change_roles(&other.member_id, &[Role::Staff, Role::Deputy])
        .await
        .unwrap();
    school.env.close().await;
});

// An appointment is a way to a role like any other.
// Covers: F7 refused
on_both!(pupil_does_not_claim_an_appointment, |database| async move {
    let env = TestEnv::open(database).await;
    let pupil = env.newcomer("+79160000002", "Ян Котов").await;
    let link = env.env.id::<InvitationId>().to_string();
    let request = AdmitMemberRequest {
        request_id: env.act(),
        org_id: org(2).to_string(),
        flow_id: env.flow(&pupil, &link).await,
        invitation_id: link,
        role: Role::Pupil.into(),
        unit_id: unit(1).to_string(),
        ..Default::default()
    };
    env.admission().admit_member(request).await.unwrap();
    assert_eq!(reason(&env.claim(&pupil, org(2)).await), "ROLE_COMBINATION");
    env.close().await;
});

// A link for staff admits only the phone for which it was made.
// Covers: F8 allowed, F8 refused
on_both!(link_for_a_phone_admits_that_phone, |database| async move {
    let school = School::open(database).await;
    let made_for = "+79164444444";
    let thief = school.env.newcomer("+79165555555", "Чужой").await;
    let teacher = school.env.newcomer(made_for, "Вера Орлова").await;
    let to = async |person: &Person| AdmitMemberRequest {
        open: false,
        unit_id: String::new(),
        recipient_address: made_for.to_owned(),
        ..school.open_link(person, Role::Teacher).await
    };
    assert_eq!(
        reason(&school.admit(to(&thief).await).await),
        "RECIPIENT_MISMATCH"
    );
    let admitted = school.admit(to(&teacher).await).await.unwrap();
    assert_ne!(admitted.member_id, "");
    school.env.close().await;
});

// Staff join units of every kind, so that a request for a department can be accepted.
// Covers: R18 allowed
on_both!(staff_join_a_department_by_a_request, |database| async move {
    let school = School::open(database).await;
    let department = unit(9).to_string();
    let created = UnitCreated {
        unit_id: department.clone(),
        kind: UnitKind::Department.into(),
        label: "Кафедра математики".to_owned(),
        ..Default::default()
    };
    school
        .env
        .test_env
        .apply_org_registry(org(1), OrgRegistry::UnitCreated(created))
        .await;
    let person = school.env.newcomer("+79164444444", "Вера Орлова").await;
    let open = AdmitMemberRequest {
        unit_id: department,
        ..school.open_link(&person, Role::Teacher).await
    };
    let requested = school.admit(open).await.unwrap().join_request_id;
    let decided = school
        .decide(&school.administrator, &[(&requested, true, "")])
        .await;
    assert_ne!(decided.unwrap()[0].member_id, "");
    school.env.close().await;
});

// An adult student who is a parent becomes the parent of another child by a link.
// Covers: F7 allowed
on_both!(
    adult_student_is_the_parent_of_two_children,
    |database| async move {
        let school = School::open(database).await;
        let student = school.env.join_pupil("+79161111111", "Ян Котов", 1).await;
        let child = school.env.join_pupil("+79162222222", "Ева Котова", 1).await;
        let born = pb::SetBirthDateRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            child_id: student.member_id.clone(),
            birth_date: "1990-01-01".to_owned(),
        };
        let mut api = school.env.guardianships();
        api.set_birth_date(by(&school.administrator.token, born))
            .await
            .unwrap();
        let roles = [Role::Pupil, Role::Parent];
        school.change_roles(&student.member_id, &roles).await.unwrap();
        let as_parent = AdmitMemberRequest {
            open: false,
            unit_id: String::new(),
            child_id: child.member_id,
            ..school.open_link(&student.person, Role::Parent).await
        };
        assert_eq!(
            school.admit(as_parent).await.unwrap().member_id,
            student.member_id
        );
        school.env.close().await;
    }
);
