//! A link that names a record makes the person its holder (F8, F10).
use super::*;

// Case 20: an expected parent claims the own record by the link that names it. The relations of the record
// stay as they are: the proposed one has no effect until staff confirm it.
// Covers: F10 allowed, F10 refused, F12 refused
on_both!(expected_parent_claims_the_own_record, |database| async move {
    let school = School::open(database).await;
    let class = |r: &mut AdmitMemberRequest| r.unit_id = unit(1).to_string();
    let child = school
        .env
        .join("+79162222222", "Ева Котова", Role::Pupil, class)
        .await;
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
