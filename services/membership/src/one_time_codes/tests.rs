//! One-time codes that the school gives (F11, R19).
mod fixture;
mod using;

use parta_ids::{MemberId, TypedId as _, Uuid};
use parta_proto_membership::v1::{OneTimeCodeState, Role};
use parta_service_testkit::fields;
use parta_testkit::on_both;

use self::fixture::{ADMINISTRATOR, FATHER, MOTHER, PUPIL, School, is_restricted};
use crate::tests::test_env::{by, org, reason};

// A pupil who has lost the phone gets a code from the class teacher. The other sessions end, the pupil and
// the confirmed guardian are notified, and the guardian confirms the new session.
// Covers: R19 allowed, F11 allowed
on_both!(code_of_the_leader_starts_a_session, |database| async move {
    let school = School::open(database).await;
    let issued = school.issue(&school.leader, &school.pupil).await.unwrap();
    let code = issued.one_time_code.unwrap();
    assert_eq!(code.state(), OneTimeCodeState::Issued);
    assert_eq!(code.issuer_id, school.leader.member_id);
    let groups: Vec<_> = issued.code.split('-').map(str::len).collect();
    assert_eq!(groups, [4; 4], "{}", issued.code);
    let person = school.redeem(&issued.code.to_lowercase()).await.unwrap();
    assert_eq!(person.account_id, school.pupil.person.account_id);
    assert_eq!(school.ended(&school.pupil.person).await, "CREDENTIAL_REVOKED");
    let session = school.env.member_session(org(1), person.clone()).await.unwrap();
    assert_eq!(session.member_id, school.pupil.member_id);
    assert!(is_restricted(&session.token));
    assert_eq!(school.not_redeemed(&issued.code).await, "CODE_WRONG");

    // The jobs and the notices name nobody, and nothing has the text of the code.
    for (payload, _) in school.env.jobs().await {
        assert!(
            !payload.contains("Кот") && !payload.contains(&issued.code),
            "{payload}"
        );
    }
    school.env.run_due_jobs().await;
    assert_eq!(school.env.jobs().await, []);
    assert_eq!(school.notices(MOTHER, "одноразовый код").await, 1);
    assert_eq!(school.notices(MOTHER, "от имени вашего ребёнка").await, 1);
    assert_eq!(school.notices(MOTHER, "as your child").await, 1);
    assert_eq!(school.notices(PUPIL, "для вас есть сообщение").await, 2);
    for phone in [FATHER, ADMINISTRATOR] {
        assert_eq!(school.notices(phone, "код").await, 0, "{phone}");
    }
    for phone in [MOTHER, PUPIL] {
        assert_eq!(school.notices(phone, "Котов").await, 0, "{phone}");
    }

    let used = school.state(&school.mother, &school.pupil).await.unwrap();
    assert_eq!(used.state(), OneTimeCodeState::Used);
    let confirmed = school.confirm(&school.mother, &used).await.unwrap();
    assert_eq!(confirmed, OneTimeCodeState::Confirmed);
    let again = school.confirm(&school.mother, &used).await.unwrap();
    assert_eq!(again, OneTimeCodeState::Confirmed);
    let session = school.env.member_session(org(1), person).await.unwrap();
    assert!(!is_restricted(&session.token));
    let seen = school.state(&session, &school.pupil).await.unwrap();
    assert_eq!(seen.confirmer_id, school.mother.member_id);
    school.env.close().await;
});

// Nobody issues a code for oneself, for one's child or for the other guardian of that child, and no one
// outside of the administration and the leader for anybody.
// Covers: R19 refused, F6 refused, F11 refused
on_both!(nobody_gives_a_code_in_their_own_matter, |database| async move {
    let school = School::open(database).await;
    let (administrator, pupil) = (&school.administrator, &school.pupil.member_id);
    let own = &administrator.member_id;
    assert_eq!(school.refused(administrator, own).await, "SECOND_PERSON_REQUIRED");
    for caller in [&school.pupil, &school.mother, &school.father] {
        assert_eq!(school.refused(caller, pupil).await, "PERMISSION_DENIED");
    }
    for member in [&administrator.member_id, &school.second.member_id] {
        assert_eq!(school.refused(&school.leader, member).await, "PERMISSION_DENIED");
    }
    // The leader gives one to the confirmed parent of a pupil of the class, and to no other parent.
    let father = &school.father.member_id;
    assert_eq!(school.refused(&school.leader, father).await, "PERMISSION_DENIED");
    assert!(!school.code(&school.leader, &school.mother).await.is_empty());
    // An administrator who is a parent.
    let roles = [Role::Parent, Role::Staff, Role::Administrator];
    for held in [&roles[..2], &roles[..]] {
        school.set_roles(&school.father.member_id, held).await;
    }
    for member in [pupil, &school.mother.member_id] {
        let refused = school.refused(&school.father, member).await;
        assert_eq!(refused, "SECOND_PERSON_REQUIRED");
    }
    let unknown = MemberId::from_uuid(Uuid::from_u128(77)).to_string();
    assert_eq!(school.refused(administrator, &unknown).await, "NOT_FOUND");
    assert_eq!(
        school.refused(&school.leader, &unknown).await,
        "PERMISSION_DENIED"
    );
    let stranger = school.env.administrator(2).await;
    assert_eq!(school.refused(&stranger, pupil).await, "NOT_FOUND");
    school.env.close().await;
});

// A member of the staff gets a code from two members of the administration. The one who has seen the code
// does not confirm its use.
// Covers: R19 allowed, R19 refused, F6 refused, F11 allowed, F11 refused
on_both!(staff_get_a_code_from_two_people, |database| async move {
    let school = School::open(database).await;
    let (first, second, leader) = (&school.administrator, &school.second, &school.leader);
    let wanted = school.wanted(&leader.member_id);
    let request = school.issue_as(by(&first.token, wanted.clone())).await.unwrap();
    assert_eq!(request.code, "");
    let code = request.one_time_code.unwrap();
    assert_eq!(code.state(), OneTimeCodeState::Requested);
    assert_eq!(code.requester_id, first.member_id);
    let refused = school.refused(first, &leader.member_id).await;
    assert_eq!(refused, "SECOND_PERSON_REQUIRED");
    let issued = school.issue(second, leader).await.unwrap();
    let code = issued.one_time_code.unwrap();
    assert_eq!(code.state(), OneTimeCodeState::Issued);
    assert_eq!(
        (code.requester_id, code.issuer_id),
        (first.member_id.clone(), second.member_id.clone())
    );
    // The first person repeats the request and does not see the code.
    let repeated = school.issue_as(by(&first.token, wanted)).await.unwrap();
    assert_eq!(repeated.code, "");
    let unused = school.state(first, leader).await.unwrap();
    let mut early = unused.clone();
    early.use_time = unused.create_time;
    assert_eq!(reason(&school.confirm(first, &early).await), "CODE_NOT_USED");
    let person = school.redeem(&issued.code).await.unwrap();
    let used = school.state(first, leader).await.unwrap();
    let session = school.env.member_session(org(1), person).await.unwrap();
    let refused = reason(&school.confirm(second, &used).await);
    assert_eq!(refused, "SECOND_PERSON_REQUIRED");
    assert_eq!(
        reason(&school.confirm(&session, &used).await),
        "PERMISSION_DENIED"
    );
    for caller in [&school.mother, &school.pupil] {
        assert_eq!(reason(&school.confirm(caller, &used).await), "PERMISSION_DENIED");
        assert_eq!(reason(&school.state(caller, leader).await), "PERMISSION_DENIED");
    }
    let mut stale = used.clone();
    stale.use_time.as_mut().unwrap().seconds -= 1;
    assert_eq!(reason(&school.confirm(first, &stale).await), "CODE_NOT_USED");
    let confirmed = school.confirm(first, &used).await.unwrap();
    assert_eq!(confirmed, OneTimeCodeState::Confirmed);
    school.env.close().await;
});

// A request that no second person takes up within a day expires: the next call is a first one again.
// Covers: F11 refused
on_both!(request_for_a_code_expires, |database| async move {
    let school = School::open(database).await;
    school.issue(&school.administrator, &school.leader).await.unwrap();
    school.env.time.advance(chrono::TimeDelta::hours(25));
    let second = school.env.again(&school.second, "+79165555555").await;
    let expired = school.state(&second, &school.leader).await.unwrap();
    assert_eq!(expired.state(), OneTimeCodeState::Expired);
    let issued = school.issue(&second, &school.leader).await.unwrap();
    assert_eq!(issued.code, "");
    let code = issued.one_time_code.unwrap();
    assert_eq!(code.state(), OneTimeCodeState::Requested);
    assert_eq!(code.requester_id, second.member_id);
    school.env.close().await;
});

// The operator gives codes to administrators and the head, and to nobody else; the administration gives them
// none. The operator who has issued a code does not confirm its use.
// Covers: R19 allowed, R19 refused, F11 allowed, F11 refused
on_both!(
    administrators_get_codes_from_the_operator,
    |database| async move {
        let school = School::open(database).await;
        let (first, second) = (&school.administrator, &school.second);
        let refused = school.refused(first, &second.member_id).await;
        assert_eq!(refused, "CODE_NOT_ALLOWED");
        for member in [&school.pupil, &school.leader] {
            let wanted = school.wanted(&member.member_id);
            let refused = school.issue_as(school.env.by_operator(wanted)).await;
            assert_eq!(reason(&refused), "CODE_NOT_ALLOWED");
        }
        let wanted = school.wanted(&second.member_id);
        let issued = school.issue_as(school.env.by_operator(wanted)).await.unwrap();
        assert_eq!(issued.one_time_code.unwrap().issuer_id, "");
        school.redeem(&issued.code).await.unwrap();
        let used = school.state(first, second).await.unwrap();
        let confirmation = school.env.by_operator(school.confirmation(&used));
        let refused = reason(&school.confirm_as(confirmation).await);
        assert_eq!(refused, "SECOND_PERSON_REQUIRED");
        let confirmed = school.confirm(first, &used).await.unwrap();
        assert_eq!(confirmed, OneTimeCodeState::Confirmed);
        // The operator is the second person for a code that a member of the school has issued.
        let code = school.code(first, &school.pupil).await;
        school.redeem(&code).await.unwrap();
        let used = school.state(first, &school.pupil).await.unwrap();
        assert_eq!(
            reason(&school.confirm(first, &used).await),
            "SECOND_PERSON_REQUIRED"
        );
        let confirmation = school.env.by_operator(school.confirmation(&used));
        let confirmed = school.confirm_as(confirmation).await.unwrap();
        assert_eq!(confirmed, OneTimeCodeState::Confirmed);
        school.env.close().await;
    }
);

// Covers: R19 refused, F11 refused
on_both!(code_needs_a_member_who_can_sign_in, |database| async move {
    let school = School::open(database).await;
    let administrator = &school.administrator;
    let expected = school
        .env
        .create_member(administrator, "Вера Белова", Role::Parent, None);
    let expected = expected.await.unwrap().id;
    assert_eq!(school.refused(administrator, &expected).await, "CODE_NOT_ALLOWED");
    let father = &school.father.member_id;
    school.env.remove(administrator, father, "").await.unwrap();
    assert_eq!(school.refused(administrator, father).await, "MEMBER_LEFT");
    for caller in [&school.leader, administrator] {
        let none = school.state(caller, &school.pupil).await;
        assert_eq!(reason(&none), "NOT_FOUND");
        assert_eq!(reason(&school.revoke(caller, &school.pupil).await), "NOT_FOUND");
    }
    assert_eq!(
        reason(&school.revoke(&school.father, &school.pupil).await),
        "NOT_FOUND"
    );
    school.env.close().await;
});

// Every wrong field of each call is named.
// Covers: F11 refused
on_both!(wrong_fields_of_codes_are_named, |database| async move {
    use parta_proto_membership::v1 as pb;
    let school = School::open(database).await;
    let token = &school.administrator.token;
    let mut api = school.env.one_time_codes();
    let request = pb::IssueOneTimeCodeRequest::default();
    let refused = api.issue_one_time_code(by(token, request)).await.unwrap_err();
    assert_eq!(fields(&refused), ["member_id", "org_id", "request_id"]);
    let request = pb::GetOneTimeCodeRequest::default();
    let refused = api.get_one_time_code(by(token, request)).await.unwrap_err();
    assert_eq!(fields(&refused), ["member_id", "org_id"]);
    let request = pb::ConfirmOneTimeCodeRequest::default();
    let refused = api.confirm_one_time_code(by(token, request)).await.unwrap_err();
    assert_eq!(
        fields(&refused),
        ["member_id", "org_id", "request_id", "use_time"]
    );
    let request = pb::RevokeOneTimeCodeRequest::default();
    let refused = api.revoke_one_time_code(by(token, request)).await.unwrap_err();
    assert_eq!(fields(&refused), ["member_id", "org_id", "request_id"]);
    let request = pb::RedeemOneTimeCodeRequest::default();
    let refused = api.redeem_one_time_code(request).await.unwrap_err();
    assert_eq!(fields(&refused), ["code", "request_id"]);
    school.env.close().await;
});
