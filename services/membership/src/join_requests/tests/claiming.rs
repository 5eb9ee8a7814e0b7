//! A link that names a record makes the person its holder (F8, F10).
use super::*;

impl School {
    /// Creates the record of an expected teacher who is assigned to the first class.
    async fn expect_teacher(&self, name: &str) -> String {
        let administrator = &self.administrator;
        let created = self
            .env
            .create_member(administrator, name, Role::Teacher, None)
            .await;
        let record = created.unwrap().id;
        let kind = AssignmentKind::SubjectTeacher;
        self.env
            .assign(administrator, &record, unit(1), kind)
            .await
            .unwrap();
        record
    }

    /// The acceptance of a new link that names a record.
    async fn claim(&self, person: &Person, role: Role, record: &str) -> AdmitMemberRequest {
        AdmitMemberRequest {
            open: false,
            unit_id: String::new(),
            claim_member_id: record.to_owned(),
            ..self.open_link(person, role).await
        }
    }

    /// A pupil of the first class, and a parent of the pupil who is a member.
    async fn family(&self, parent: &str) -> (MemberSession, MemberSession) {
        let child = self.env.join_pupil("+79162222222", "Ева Котова", 1).await;
        let of_child = |r: &mut AdmitMemberRequest| r.child_id.clone_from(&child.member_id);
        let parent = self
            .env
            .join("+79164444444", parent, Role::Parent, of_child)
            .await;
        (child, parent)
    }

    async fn member(&self, id: &str) -> pb::Member {
        let request = pb::GetMemberRequest {
            org_id: org(1).to_string(),
            member_id: id.to_owned(),
        };
        let mut api = self.env.members();
        let found = api.get_member(by(&self.administrator.token, request)).await;
        found.unwrap().into_inner().member.unwrap()
    }

    /// The members who teach in the first class, but for its class teacher.
    async fn subject_teachers(&self) -> Vec<String> {
        let request = pb::ListAssignmentsRequest {
            org_id: org(1).to_string(),
            unit_id: unit(1).to_string(),
            ..Default::default()
        };
        let mut api = self.env.assignments();
        let listed = api.list_assignments(by(&self.administrator.token, request)).await;
        let mut rows = listed.unwrap().into_inner().assignments;
        rows.retain(|row| row.kind() == AssignmentKind::SubjectTeacher);
        rows.into_iter().map(|row| row.member_id).collect()
    }

    async fn relations(&self) -> Vec<pb::Guardianship> {
        let request = pb::ListGuardianshipsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.env.guardianships();
        let listed = api
            .list_guardianships(by(&self.administrator.token, request))
            .await;
        listed.unwrap().into_inner().guardianships
    }

    /// Asserts that staff decide about a claim, and returns the request.
    async fn waits(&self, claim: AdmitMemberRequest) -> String {
        let requested = self.admit(claim).await.unwrap();
        assert_eq!(requested.member_id, "", "staff decide");
        requested.join_request_id
    }
}

// Case 20: an expected parent claims their own record by the link that names it. The relations of the
// record stay as they are: the proposed one has no effect until staff confirm it.
// Covers: F10 allowed, F10 refused, F12 refused
on_both!(expected_parent_claims_the_own_record, |database| async move {
    let school = School::open(database).await;
    let child = school.env.join_pupil("+79162222222", "Ева Котова", 1).await;
    let record = school.expect_parent("Мария Котова", &child.member_id).await;
    let mother = school.env.newcomer("+79164444444", "Мария Котова").await;
    let without_record = AdmitMemberRequest {
        open: false,
        unit_id: String::new(),
        ..school.open_link(&mother, Role::Parent).await
    };
    let refused = school.admit(without_record.clone()).await.unwrap_err();
    assert_eq!(fields(&refused), ["child_id"]);
    let claim = AdmitMemberRequest {
        claim_member_id: record.clone(),
        ..without_record
    };
    let claimed = school.admit(claim).await.unwrap();
    assert_eq!(
        (claimed.member_id.as_str(), claimed.already_member),
        (record.as_str(), false)
    );
    let mother = school.env.member_session(org(1), mother).await.unwrap();
    assert_eq!(school.env.list(&mother).await.unwrap(), ["Мария Котова"]);
    let of_record = pb::ListGuardianshipsRequest {
        org_id: org(1).to_string(),
        ..Default::default()
    };
    let mut api = school.env.guardianships();
    let listed = api
        .list_guardianships(by(&mother.token, of_record))
        .await
        .unwrap()
        .into_inner()
        .guardianships;
    assert_eq!((listed.len(), listed[0].confirmed), (1, false));
    let confirm = pb::ConfirmGuardianshipRequest {
        request_id: school.env.act(),
        org_id: org(1).to_string(),
        guardianship_id: listed[0].id.clone(),
        ..Default::default()
    };
    api.confirm_guardianship(by(&school.administrator.token, confirm))
        .await
        .unwrap();
    let seen = school.env.list(&mother).await.unwrap();
    assert!(seen.contains(&"Ева Котова".to_owned()), "{seen:?}");
    // The record has its holder: the link admits nobody else.
    let other = school.env.newcomer("+79165555555", "Чужая").await;
    let taken = AdmitMemberRequest {
        open: false,
        unit_id: String::new(),
        claim_member_id: record,
        ..school.open_link(&other, Role::Parent).await
    };
    assert_eq!(reason(&school.admit(taken).await), "ALREADY_CLAIMED");
    school.env.close().await;
});

// Case 19: a parent becomes a teacher and claims the record of the teacher. The person has one record.
// Covers: F10 allowed, F10 refused, R71 allowed
on_both!(member_claims_a_record_of_the_same_name, |database| async move {
    let school = School::open(database).await;
    let (_, mother) = school.family("Мария Котова").await;
    let record = school.expect_teacher("мария  Котова").await;
    let link = school.claim(&mother.person, Role::Teacher, &record).await;
    for _ in 0..2 {
        let joined = school.admit(link.clone()).await.unwrap();
        assert_eq!(
            (joined.member_id, joined.already_member),
            (mother.member_id.clone(), false)
        );
    }
    let other = AdmitMemberRequest {
        request_id: school.env.act(),
        ..link.clone()
    };
    assert!(school.admit(other).await.unwrap().already_member);
    let member = school.member(&mother.member_id).await;
    let mut roles: Vec<_> = member.roles().collect();
    roles.sort();
    assert_eq!(roles, [Role::Parent, Role::Teacher]);
    assert!(!member.teacher_verified);
    let left = school.member(&record).await;
    assert_eq!(
        (left.state(), left.joined_member_id),
        (pb::MemberState::Left, mother.member_id.clone())
    );
    assert_eq!(
        school.subject_teachers().await,
        std::slice::from_ref(&mother.member_id)
    );
    assert_eq!(
        school.relations().await.len(),
        1,
        "the relation to their own child"
    );
    // The record is claimed: nobody else gets it, with an account or without.
    let stranger = school.env.newcomer("+79165555555", "Мария Котова").await;
    for person in [&stranger, &school.teacher.person] {
        let claim = school.claim(person, Role::Teacher, &record).await;
        assert_eq!(reason(&school.admit(claim).await), "ALREADY_CLAIMED");
    }
    school.env.close().await;
});

// Covers: F10 allowed, F12 refused
on_both!(teacher_claims_the_record_of_a_parent, |database| async move {
    let school = School::open(database).await;
    let child = school.env.join_pupil("+79162222222", "Ева Котова", 1).await;
    // The class teacher is Олег Волков.
    let record = school.expect_parent("Олег Волков", &child.member_id).await;
    let claim = school.claim(&school.teacher.person, Role::Parent, &record).await;
    let joined = school.admit(claim).await.unwrap();
    assert_eq!(joined.member_id, school.teacher.member_id);
    let member = school.member(&joined.member_id).await;
    assert!(member.teacher_verified, "the badge of the member stays");
    let relations = school.relations().await;
    let relation = |row: &pb::Guardianship| (row.guardian_id.clone(), row.child_id.clone(), row.confirmed);
    assert_eq!(
        relations.iter().map(relation).collect::<Vec<_>>(),
        [(joined.member_id, child.member_id, false)]
    );
    let confirm = |by_whom: &MemberSession| {
        let request = pb::ConfirmGuardianshipRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            guardianship_id: relations[0].id.clone(),
            ..Default::default()
        };
        by(&by_whom.token, request)
    };
    let mut api = school.env.guardianships();
    let own = api.confirm_guardianship(confirm(&school.teacher)).await;
    assert_eq!(reason(&own), "SECOND_PERSON_REQUIRED");
    api.confirm_guardianship(confirm(&school.administrator))
        .await
        .unwrap();
    school.env.close().await;
});

// Covers: F10 allowed, F10 refused
on_both!(claim_of_another_name_waits_for_staff, |database| async move {
    let school = School::open(database).await;
    let (_, mother) = school.family("Мария Котова").await;
    let record = school.expect_teacher("Мария Орлова").await;
    let claim = school.claim(&mother.person, Role::Teacher, &record).await;
    let requested = school.waits(claim).await;
    assert_eq!(
        school.subject_teachers().await,
        std::slice::from_ref(&record),
        "nothing has changed"
    );
    assert_eq!(
        reason(&school.decide(&school.teacher, &[(&requested, true, "")]).await),
        "PERMISSION_DENIED"
    );
    let decided = school
        .decide(&school.administrator, &[(&requested, true, "")])
        .await;
    assert_eq!(decided.unwrap()[0].member_id, mother.member_id);
    assert_eq!(
        school.subject_teachers().await,
        std::slice::from_ref(&mother.member_id)
    );
    // Staff made the link for the phone of the member.
    let created = school
        .env
        .create_member(&school.administrator, "Мария Седова", Role::Staff, None);
    let record = created.await.unwrap().id;
    let addressed = AdmitMemberRequest {
        recipient_address: "+79164444444".to_owned(),
        ..school.claim(&mother.person, Role::Staff, &record).await
    };
    assert_eq!(school.admit(addressed).await.unwrap().member_id, mother.member_id);
    // Another person, of the name of the record, was faster than the staff.
    let record = school.expect_teacher("Нина Быкова").await;
    let claim = school.claim(&mother.person, Role::Teacher, &record).await;
    let requested = school.waits(claim).await;
    let nina = school.env.newcomer("+79166666666", "Нина Быкова").await;
    let claim = school.claim(&nina, Role::Teacher, &record).await;
    assert_eq!(school.admit(claim).await.unwrap().member_id, record);
    assert_eq!(
        reason(
            &school
                .decide(&school.administrator, &[(&requested, true, "")])
                .await
        ),
        "ALREADY_CLAIMED"
    );
    school.env.close().await;
});

// A pupil does not become a teacher, the record of another pupil is not joined, and nobody admits their
// own person.
// Covers: F10 refused, F7 refused, F6 refused
on_both!(claim_that_does_not_fit_is_not_accepted, |database| async move {
    let school = School::open(database).await;
    let (child, _) = school.family("Мария Котова").await;
    let administrator = &school.administrator;
    let accept =
        async |requested: &str| reason(&school.decide(administrator, &[(requested, true, "")]).await);
    let teacher = school.expect_teacher("Ева Котова").await;
    let claim = school.claim(&child.person, Role::Teacher, &teacher).await;
    assert_eq!(accept(&school.waits(claim).await).await, "ROLE_COMBINATION");
    let twin = school.expected_pupil("Ева Котова", 1).await;
    let claim = school.claim(&child.person, Role::Pupil, &twin).await;
    let requested = school.waits(claim).await;
    assert_eq!(accept(&requested).await, "RECORDS_NOT_JOINABLE");
    let refused = school.decide(administrator, &[(&requested, false, "")]).await;
    assert_eq!(refused.unwrap()[0].state(), JoinRequestState::Refused);
    // The administrator is Анна Петрова, and has made the link.
    let own = school.expect_teacher("Анна Петрова").await;
    let claim = AdmitMemberRequest {
        issuer_id: administrator.member_id.clone(),
        ..school.claim(&administrator.person, Role::Teacher, &own).await
    };
    assert_eq!(accept(&school.waits(claim).await).await, "SECOND_PERSON_REQUIRED");
    let mut teachers = school.subject_teachers().await;
    teachers.sort();
    let mut expected = [teacher, own];
    expected.sort();
    assert_eq!(teachers, expected);
    school.env.close().await;
});

// A limit toward a child stays with the people whom it is about, so that a claim does not take it away.
// Covers: F10 refused, F13 refused
on_both!(record_with_a_limit_is_not_joined, |database| async move {
    let school = School::open(database).await;
    let child = school.env.join_pupil("+79162222222", "Ева Котова", 1).await;
    let record = school.expect_parent("Олег Волков", &child.member_id).await;
    let limit = pb::LimitGuardianshipRequest {
        request_id: school.env.act(),
        org_id: org(1).to_string(),
        guardianship_id: school.relations().await[0].id.clone(),
        limits: vec![pb::RelationLimit::NoContact.into()],
        cause: "определение суда".to_owned(),
        ..Default::default()
    };
    let mut api = school.env.guardianships();
    api.limit_guardianship(by(&school.administrator.token, limit))
        .await
        .unwrap();
    let claim = school.claim(&school.teacher.person, Role::Parent, &record).await;
    let requested = school.waits(claim).await;
    let accepted = school
        .decide(&school.administrator, &[(&requested, true, "")])
        .await;
    assert_eq!(reason(&accepted), "RECORDS_NOT_JOINABLE");
    assert_eq!(school.relations().await[0].guardian_id, record);
    school.env.close().await;
});

// A record of another organization is unknown, and of two people who claim a record at once one gets it.
// Covers: F10 refused
on_both!(
    record_goes_to_one_person_of_the_organization,
    |database| async move {
        let school = School::open(database).await;
        let other_school = school.env.administrator(2).await;
        let request = pb::CreateMemberRequest {
            request_id: school.env.act(),
            org_id: org(2).to_string(),
            full_name: "Мария Котова".to_owned(),
            role: Role::Teacher.into(),
            unit_id: String::new(),
        };
        let mut api = school.env.members();
        let created = api.create_member(by(&other_school.token, request)).await;
        let foreign = created.unwrap().into_inner().member.unwrap().id;
        let (_, mother) = school.family("Мария Котова").await;
        let claim = school.claim(&mother.person, Role::Teacher, &foreign).await;
        assert_eq!(reason(&school.admit(claim).await), "ALREADY_CLAIMED");
        let stranger = school.env.newcomer("+79165555555", "Мария Котова").await;
        let record = school.expect_teacher("Мария Котова").await;
        let first = school.claim(&mother.person, Role::Teacher, &record).await;
        let second = school.claim(&stranger, Role::Teacher, &record).await;
        let responses = futures::future::join(school.admit(first), school.admit(second)).await;
        let mut reasons = [reason(&responses.0), reason(&responses.1)];
        reasons.sort();
        assert_eq!(reasons, ["ALREADY_CLAIMED", "OK"]);
        assert_eq!(school.subject_teachers().await.len(), 1);
        school.env.close().await;
    }
);
