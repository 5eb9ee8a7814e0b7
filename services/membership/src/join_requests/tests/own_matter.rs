//! A link does not replace a decision: nobody joins by their own link (F6), a revoked role needs a
//! decision (F9), and a join request is not matched with the record of another family (F10).
use super::*;

impl School {
    /// The acceptance of a link that names the person. The administrator has made the link.
    async fn named_link(&self, person: &Person, role: Role) -> AdmitMemberRequest {
        AdmitMemberRequest {
            open: false,
            unit_id: String::new(),
            issuer_id: self.administrator.member_id.clone(),
            ..self.open_link(person, role).await
        }
    }

    /// Creates the record of an expected parent, proposes the parent as guardian of the child, and
    /// returns the id of the record.
    pub(super) async fn expect_parent(&self, name: &str, child: &str) -> String {
        let request = pb::CreateMemberRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            full_name: name.to_owned(),
            role: Role::Parent.into(),
            unit_id: String::new(),
        };
        let mut api = self.env.members();
        let created = api
            .create_member(by(&self.administrator.token, request))
            .await
            .unwrap();
        let parent = created.into_inner().member.unwrap().id;
        let propose = pb::ProposeGuardianshipRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardian_id: parent.clone(),
            child_id: child.to_owned(),
            kind: pb::GuardianshipKind::Parent.into(),
        };
        let mut api = self.env.guardianships();
        api.propose_guardianship(by(&self.administrator.token, propose))
            .await
            .unwrap();
        parent
    }
}

// An administrator accepts links that name the administrator: the first with their own account, the
// second with another profile of the same phone. Each makes a join request, and the issuer decides
// neither. A second person accepts both.
// Covers: F6 allowed, F6 refused
on_both!(issuer_is_not_admitted_by_an_own_link, |database| async move {
    let school = School::open(database).await;
    let acceptance = school
        .named_link(&school.administrator.person, Role::Teacher)
        .await;
    let own_request = school.admit(acceptance).await.unwrap();
    assert_eq!(own_request.member_id, "", "nobody gives a role to oneself");
    school.env.minute();
    let profile = school.env.newcomer("+79160000001", "Анна Сергеева").await;
    let profile_request = school
        .admit(school.named_link(&profile, Role::Staff).await)
        .await
        .unwrap();
    assert_eq!(
        profile_request.member_id, "",
        "the other profile is the same person"
    );
    for id in [&own_request.join_request_id, &profile_request.join_request_id] {
        assert_eq!(
            reason(&school.decide(&school.administrator, &[(id, true, "")]).await),
            "SECOND_PERSON_REQUIRED"
        );
    }
    let head = school
        .env
        .join("+79164444444", "Вера Орлова", Role::Staff, |_| ())
        .await;
    school
        .change_roles(&head.member_id, &[Role::Staff, Role::Head])
        .await
        .unwrap();
    let both = [
        (own_request.join_request_id.as_str(), true, ""),
        (profile_request.join_request_id.as_str(), true, ""),
    ];
    let decided = school.decide(&head, &both).await.unwrap();
    assert_eq!(decided[0].member_id, school.administrator.member_id);
    school.env.close().await;
});

// A link that was made before a decision took a role away does not give the role back: its
// acceptance makes a join request.
// Covers: F9 refused
on_both!(named_link_restores_no_revoked_role, |database| async move {
    let school = School::open(database).await;
    let link = school.named_link(&school.teacher.person, Role::Teacher).await;
    school
        .change_roles(&school.teacher.member_id, &[Role::Staff])
        .await
        .unwrap();
    let requested = school.admit(link).await.unwrap();
    assert_eq!(requested.member_id, "");
    // A named link gives a role that no decision took away.
    let child = school.env.join_pupil("+79162222222", "Ева Котова", 1).await;
    let as_parent = AdmitMemberRequest {
        child_id: child.member_id,
        ..school.named_link(&school.teacher.person, Role::Parent).await
    };
    let parent = school.admit(as_parent).await.unwrap();
    assert_eq!(parent.member_id, school.teacher.member_id);
    school.env.close().await;
});

// The leader of a class matches a join request with the record of a parent of their own class, and
// cannot see that of another class.
// Covers: R18 refused, F10 refused
on_both!(record_of_another_child_is_not_found, |database| async move {
    let school = School::open(database).await;
    let child = school.env.join_pupil("+79162222222", "Ева Котова", 1).await;
    let other = school.env.join_pupil("+79161111111", "Ян Орлов", 2).await;
    let own = school.expect_parent("Мария Котова", &child.member_id).await;
    let foreign = school.expect_parent("Мария Орлова", &other.member_id).await;
    let mother = school.env.newcomer("+79164444444", "Мария Котова").await;
    let of_child = AdmitMemberRequest {
        child_id: child.member_id.clone(),
        ..school.open_link(&mother, Role::Parent).await
    };
    let requested = school.admit(of_child).await.unwrap().join_request_id;
    assert_eq!(
        reason(
            &school
                .decide(&school.teacher, &[(&requested, true, &foreign)])
                .await
        ),
        "NOT_FOUND"
    );
    let decided = school.decide(&school.teacher, &[(&requested, true, &own)]).await;
    assert_eq!(decided.unwrap()[0].member_id, own);
    school.env.close().await;
});
