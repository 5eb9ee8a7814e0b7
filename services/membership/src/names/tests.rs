//! Corrections of names, with the former names (R71), and namesakes of the staff.
use parta_ids::{MemberId, TypedId as _, Uuid};
use parta_proto_membership::v1::{self as pb, Role};
use parta_service_testkit::fields;
use parta_testkit::{TestDatabase, on_both};
use tonic::Status;

use crate::tests::{
    school,
    test_env::{MemberSession, by, org, reason, unit},
};

/// The school with a pupil of the class 1А whose name is misspelt.
struct People {
    pupil: MemberSession,
}

type School = school::With<People>;

impl School {
    async fn open(database: TestDatabase) -> Self {
        let school = school::School::open(database).await;
        let pupil = school.test_env.join_pupil("+79161111111", "Ян Катов", 1).await;
        let people = People { pupil };
        Self { school, people }
    }

    fn correction(&self, name: &str) -> pb::CorrectMemberNameRequest {
        pb::CorrectMemberNameRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            member_id: self.people.pupil.member_id.clone(),
            full_name: name.to_owned(),
            sealed: false,
            etag: String::new(),
        }
    }

    async fn correct(
        &self,
        caller: &MemberSession,
        request: pb::CorrectMemberNameRequest,
    ) -> Result<pb::Member, Status> {
        let request = by(&caller.token, request);
        let response = self.test_env.members().correct_member_name(request).await?;
        Ok(response.into_inner().member.unwrap())
    }

    /// The former names with who corrected them, by pages of one.
    async fn former(&self, caller: &MemberSession) -> Result<Vec<(String, String)>, Status> {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let request = pb::ListFormerNamesRequest {
                org_id: org(1).to_string(),
                member_id: self.people.pupil.member_id.clone(),
                page_size: 1,
                page_token: token,
            };
            let request = by(&caller.token, request);
            let page = self.test_env.members().list_former_names(request).await?;
            let page = page.into_inner();
            found.extend(
                page.former_names
                    .into_iter()
                    .map(|one| (one.full_name, one.corrector_id)),
            );
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(found);
            }
        }
    }

    async fn get(&self, member_id: &str) -> pb::Member {
        let request = pb::GetMemberRequest {
            org_id: org(1).to_string(),
            member_id: member_id.to_owned(),
        };
        let request = by(&self.administrator.token, request);
        let response = self.test_env.members().get_member(request).await.unwrap();
        response.into_inner().member.unwrap()
    }
}

// Covers: R71 allowed, R71 refused, F6 refused
on_both!(name_is_corrected_and_the_former_kept, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let teacher = school
        .test_env
        .class_teacher(administrator, "+79162222222", unit(1))
        .await;
    let other = school
        .test_env
        .class_teacher(administrator, "+79163333333", unit(2))
        .await;
    for (caller, expected) in [
        (&school.people.pupil, "PERMISSION_DENIED"),
        (&other, "PERMISSION_DENIED"),
    ] {
        let refused = school.correct(caller, school.correction("Ян Котов")).await;
        assert_eq!(reason(&refused), expected);
    }
    let corrected = school
        .correct(&teacher, school.correction("Ян Котов"))
        .await
        .unwrap();
    assert_eq!(corrected.full_name, "Ян Котов");
    let request = school.correction("Янис Котов");
    let twice = school.correct(administrator, request.clone()).await.unwrap();
    // A repetition returns the same, and a name that is right already leaves no former one.
    assert_eq!(school.correct(administrator, request).await.unwrap(), twice);
    school
        .correct(administrator, school.correction("Янис Котов"))
        .await
        .unwrap();
    let expected = [
        ("Ян Котов".to_owned(), administrator.member_id.clone()),
        ("Ян Катов".to_owned(), teacher.member_id.clone()),
    ];
    assert_eq!(school.former(administrator).await.unwrap(), expected);
    assert_eq!(reason(&school.former(&teacher).await), "PERMISSION_DENIED");

    let stale = pb::CorrectMemberNameRequest {
        etag: corrected.etag,
        ..school.correction("Ян Котов")
    };
    assert_eq!(
        reason(&school.correct(administrator, stale).await),
        "ETAG_MISMATCH"
    );
    let own = pb::CorrectMemberNameRequest {
        member_id: administrator.member_id.clone(),
        ..school.correction("Иван Орлов")
    };
    assert_eq!(
        reason(&school.correct(administrator, own).await),
        "SECOND_PERSON_REQUIRED"
    );
    let unknown = pb::CorrectMemberNameRequest {
        member_id: MemberId::from_uuid(Uuid::from_u128(1)).to_string(),
        ..school.correction("Ян Котов")
    };
    assert_eq!(reason(&school.correct(administrator, unknown).await), "NOT_FOUND");
    let invisible = pb::CorrectMemberNameRequest {
        org_id: "1".to_owned(),
        member_id: String::new(),
        ..school.correction("\u{200b}")
    };
    let refused = school.correct(administrator, invisible).await.unwrap_err();
    assert_eq!(fields(&refused), ["full_name", "member_id", "org_id"]);
    school.school.test_env.close().await;
});

// A class teacher may correct the name, and not delete the history of the correction.
// Covers: R71 allowed, R71 refused
on_both!(sealed_correction_leaves_no_former_name, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    school
        .correct(administrator, school.correction("Ян Котов"))
        .await
        .unwrap();
    let teacher = school
        .test_env
        .class_teacher(administrator, "+79162222222", unit(1))
        .await;
    let sealed = || pb::CorrectMemberNameRequest {
        sealed: true,
        ..school.correction("Ева Котова")
    };
    let refused = school.correct(&teacher, sealed()).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    assert_eq!(school.former(administrator).await.unwrap().len(), 1);
    let corrected = school.correct(administrator, sealed()).await.unwrap();
    assert_eq!(corrected.full_name, "Ева Котова");
    assert_eq!(school.former(administrator).await.unwrap(), []);
    school.school.test_env.close().await;
});

// A pupil may have the name of a member of the staff, and everybody who sees the pupil sees that.
// Covers: R28 allowed
on_both!(namesake_of_the_staff_is_marked, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let id = &school.people.pupil.member_id;
    assert!(!school.get(id).await.namesake_of_staff);
    // The administrator is Анна Петрова. The letters а are Latin.
    let marked = school
        .correct(administrator, school.correction("aннa  пЕтровa"))
        .await
        .unwrap();
    assert!(marked.namesake_of_staff);
    assert!(school.get(id).await.namesake_of_staff);
    assert!(!school.get(&administrator.member_id).await.namesake_of_staff);
    // Not by another pupil.
    let twin = school
        .test_env
        .create_member(administrator, "Ян Котов", Role::Pupil, Some(unit(1)))
        .await
        .unwrap();
    let corrected = school.correct(administrator, school.correction("Ян Котов")).await;
    assert!(!corrected.unwrap().namesake_of_staff);
    assert!(!school.get(&twin.id).await.namesake_of_staff);
    school.school.test_env.close().await;
});
