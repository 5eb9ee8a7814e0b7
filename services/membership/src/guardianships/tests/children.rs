//! Protected families (R83) and students who come of age (F12, F13).
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use parta_proto::feed::v1::{ReadRequest, SnapshotRequest, WatchRequest};
use parta_proto_membership::v1::{
    self as pb, AdultAccess, membership_event::Payload,
    membership_feed_service_client::MembershipFeedServiceClient, watch_response::Item,
};
use parta_testkit::on_both;
use tonic::Status;

use super::fixture::School;
use crate::tests::test_env::{MemberSession, by, org, reason};

impl School {
    async fn protect(&self, caller: &MemberSession, order: Option<pb::Order>) -> Result<(), Status> {
        self.protect_whom(caller, &self.child.member_id, order).await
    }

    async fn protect_whom(
        &self,
        caller: &MemberSession,
        child_id: &str,
        order: Option<pb::Order>,
    ) -> Result<(), Status> {
        let request = pb::ProtectFamilyRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            child_id: child_id.to_owned(),
            order,
        };
        let mut api = self.env.guardianships();
        api.protect_family(by(&caller.token, request)).await.map(|_| ())
    }

    async fn unprotect(&self, caller: &MemberSession, order: Option<pb::Order>) -> Result<(), Status> {
        self.unprotect_whom(caller, &self.child.member_id, order).await
    }

    async fn unprotect_whom(
        &self,
        caller: &MemberSession,
        child_id: &str,
        order: Option<pb::Order>,
    ) -> Result<(), Status> {
        let request = pb::UnprotectFamilyRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            child_id: child_id.to_owned(),
            order,
        };
        let mut api = self.env.guardianships();
        api.unprotect_family(by(&caller.token, request)).await.map(|_| ())
    }

    async fn record(&self, caller: &MemberSession) -> Result<pb::GetChildRecordResponse, Status> {
        let request = pb::GetChildRecordRequest {
            org_id: org(1).to_string(),
            child_id: self.child.member_id.clone(),
        };
        let mut api = self.env.guardianships();
        Ok(api
            .get_child_record(by(&caller.token, request))
            .await?
            .into_inner())
    }

    async fn born(&self, caller: &MemberSession, child_id: &str, date: &str) -> Result<(), Status> {
        let request = pb::SetBirthDateRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            child_id: child_id.to_owned(),
            birth_date: date.to_owned(),
        };
        let mut api = self.env.guardianships();
        api.set_birth_date(by(&caller.token, request)).await.map(|_| ())
    }

    async fn choose(
        &self,
        caller: &MemberSession,
        relation: &str,
        access: AdultAccess,
    ) -> Result<(), Status> {
        let request = pb::ChooseAdultAccessRequest {
            request_id: self.env.act(),
            org_id: org(1).to_string(),
            guardianship_id: relation.to_owned(),
            access: access.into(),
        };
        let mut api = self.env.guardianships();
        api.choose_adult_access(by(&caller.token, request))
            .await
            .map(|_| ())
    }

    /// Advances the clock to noon of a day in Moscow, and ends what is due.
    async fn advance_to(&mut self, day: &str) {
        let noon: DateTime<Utc> = format!("{day}T09:00:00Z").parse().unwrap();
        self.env.time.set(noon);
        self.end_due().await;
        self.sign_in_again().await;
    }

    async fn has_relation(&self, guardian: &MemberSession) -> bool {
        let all = self.list(&self.administrator, false).await;
        all.iter().any(|g| g.guardian_id == guardian.member_id)
    }
}

// Covers: R83 allowed, R83 refused, F13 allowed, F13 refused
on_both!(
    protected_relation_needs_two_of_the_administration,
    |database| async move {
        let school = School::open(database).await;
        let administrator = &school.administrator;
        let refused = school.protect(&school.teacher, school.order(0)).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        assert_eq!(
            reason(&school.protect(administrator, None).await),
            "ORDER_REQUIRED"
        );
        // The family is that of a pupil.
        let mother = &school.mother.member_id;
        let refused = school.protect_whom(administrator, mother, school.order(0)).await;
        assert_eq!(reason(&refused), "CHILD_UNKNOWN");
        let refused = school
            .unprotect_whom(administrator, mother, school.order(0))
            .await;
        assert_eq!(reason(&refused), "CHILD_UNKNOWN");
        school.protect(administrator, school.order(0)).await.unwrap();
        assert!(school.record(administrator).await.unwrap().family_protected);
        let relation = school.relation_of(&school.father).await;
        let refused = school.confirm(&school.teacher, &relation.id, None).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        let first = school.confirm(administrator, &relation.id, None).await.unwrap();
        assert!(!first.confirmed && first.awaits_second_confirmation);
        let refused = school.confirm(administrator, &relation.id, None).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
        let second = school.second_administrator().await;
        let done = school.confirm(&second, &relation.id, None).await.unwrap();
        assert!(done.confirmed && !done.awaits_second_confirmation);
        let refused = school.unprotect(administrator, school.order(-1)).await;
        assert_eq!(reason(&refused), "ORDER_REQUIRED");
        school.unprotect(administrator, school.order(0)).await.unwrap();
        assert!(!school.record(administrator).await.unwrap().family_protected);
        school.env.close().await;
    }
);

// Covers: F6 refused
on_both!(
    guardian_does_not_decide_about_the_own_protection,
    |database| async move {
        let school = School::open(database).await;
        let administrator = &school.administrator;
        school.protect(administrator, school.order(0)).await.unwrap();
        school
            .accept_link(&administrator.person, &school.child.member_id)
            .await;
        let refused = school.unprotect(administrator, school.order(0)).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
        let refused = school.protect(administrator, school.order(0)).await;
        assert_eq!(reason(&refused), "SECOND_PERSON_REQUIRED");
        let second = school.second_administrator().await;
        school.unprotect(&second, school.order(0)).await.unwrap();
        school.env.close().await;
    }
);

// Covers: R27 allowed, F1 allowed, F12 allowed, F12 refused
on_both!(
    relation_of_an_adult_keeps_the_unit_for_the_year,
    |database| async move {
        let mut school = School::open(database).await;
        for parent in [&school.mother, &school.father] {
            let relation = school.relation_of(parent).await;
            school.confirm(&school.teacher, &relation.id, None).await.unwrap();
        }
        let child = school.child.member_id.clone();
        let refused = school.born(&school.teacher, &child, "2008-10-10").await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        for wrong in ["2008-10", "1899-12-31", "2026-09-02"] {
            let refused = school.born(&school.administrator, &child, wrong).await;
            assert_eq!(reason(&refused), "FIELD_INVALID", "{wrong}");
        }
        let mother = school.mother.member_id.clone();
        let refused = school.born(&school.administrator, &mother, "1980-10-10").await;
        assert_eq!(reason(&refused), "CHILD_UNKNOWN");
        school
            .born(&school.administrator, &child, "2008-10-10")
            .await
            .unwrap();
        assert_eq!(reason(&school.record(&school.teacher).await), "PERMISSION_DENIED");
        assert_eq!(
            school.record(&school.administrator).await.unwrap().birth_date,
            "2008-10-10"
        );
        // The student lets the mother keep everything.
        let mothers = school.relation_of(&school.mother).await.id;
        let refused = school.choose(&school.mother, &mothers, AdultAccess::Full).await;
        assert_eq!(reason(&refused), "PERMISSION_DENIED");
        let refused = school.choose(&school.teacher, &mothers, AdultAccess::Full).await;
        assert_eq!(reason(&refused), "NOT_FOUND");
        school
            .choose(&school.child, &mothers, AdultAccess::Full)
            .await
            .unwrap();
        school.advance_to("2026-10-10").await;
        assert!(!school.relation_of(&school.father).await.unit_rooms_only);
        school.advance_to("2026-10-11").await;
        assert!(school.relation_of(&school.father).await.unit_rooms_only);
        assert!(!school.relation_of(&school.mother).await.unit_rooms_only);
        school.advance_to("2027-08-31").await;
        assert!(school.has_relation(&school.father).await);
        school.advance_to("2027-09-01").await;
        assert!(!school.has_relation(&school.father).await);
        assert!(school.has_relation(&school.mother).await);
        // The student takes it back.
        school
            .choose(&school.child, &mothers, AdultAccess::None)
            .await
            .unwrap();
        assert!(!school.has_relation(&school.mother).await);
        school.env.close().await;
    }
);

// Covers: F12 refused
on_both!(choice_opens_60_days_before_the_birthday, |database| async move {
    let school = School::open(database).await;
    let (child, relation) = (&school.child, school.relation_of(&school.mother).await.id);
    let choose = async || school.choose(child, &relation, AdultAccess::Full).await;
    assert_eq!(reason(&choose().await), "CHOICE_NOT_OPEN");
    // It is 1 September 2026.
    school
        .born(&school.administrator, &child.member_id, "2008-11-01")
        .await
        .unwrap();
    assert_eq!(reason(&choose().await), "CHOICE_NOT_OPEN");
    school
        .born(&school.administrator, &child.member_id, "2008-10-31")
        .await
        .unwrap();
    choose().await.unwrap();
    let refused = school.choose(child, &relation, AdultAccess::Unspecified).await;
    assert_eq!(reason(&refused), "FIELD_INVALID");
    school.env.close().await;
});

// Covers: R83 refused, R80 refused, F13 refused
on_both!(
    service_accounts_learn_of_no_protected_family,
    |database| async move {
        let school = School::open(database).await;
        let relation = school.relation_of(&school.mother).await;
        school.confirm(&school.teacher, &relation.id, None).await.unwrap();
        let request = pb::CreateServiceAccountRequest {
            request_id: school.env.act(),
            org_id: org(1).to_string(),
            display_name: "Журнал".to_owned(),
            permissions: ["roster.read", "membership_feed.read"]
                .map(str::to_owned)
                .to_vec(),
        };
        let mut api = school.env.service_accounts();
        let made = api
            .create_service_account(by(&school.administrator.token, request))
            .await;
        let key = made.unwrap().into_inner().key;
        let issued = api.issue_service_account_token(pb::IssueServiceAccountTokenRequest { key });
        let system = issued.await.unwrap().into_inner().access_token;
        let list = async || {
            let request = pb::ListMembersRequest {
                org_id: org(1).to_string(),
                ..Default::default()
            };
            let listed = school.env.members().list_members(by(&system, request)).await;
            let members = listed.unwrap().into_inner().members;
            members.into_iter().map(|member| member.id).collect::<Vec<_>>()
        };
        let before = list().await;
        assert!(before.contains(&school.mother.member_id));
        school
            .protect(&school.administrator, school.order(0))
            .await
            .unwrap();
        let mut expected = before;
        // The relation of the father waits; it is of the family all the same.
        expected.retain(|id| ![&school.mother.member_id, &school.father.member_id].contains(&id));
        assert_eq!(list().await, expected);
        let request = pb::GetMemberRequest {
            org_id: org(1).to_string(),
            member_id: school.mother.member_id.clone(),
        };
        let refused = school.env.members().get_member(by(&system, request)).await;
        assert_eq!(reason(&refused), "NOT_FOUND");

        // The feed has no gap, but the account does not learn which family is protected.
        let mut feed = MembershipFeedServiceClient::new(school.env.outside());
        let request = ReadRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let events = feed.read(by(&system, request)).await.unwrap().into_inner().events;
        let positions: Vec<_> = events.iter().map(|event| event.position).collect();
        assert_eq!(positions, (1..=events.len() as i64).collect::<Vec<_>>());
        let withheld = events.iter().filter(|event| event.payload.is_none()).count();
        assert_eq!(withheld, 1);
        let request = WatchRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut stream = feed.watch(by(&system, request)).await.unwrap().into_inner();
        let mut watched = Vec::new();
        while let Some(Item::Event(event)) = stream.message().await.unwrap().unwrap().item {
            watched.push(event);
        }
        assert_eq!(watched, events);
        let request = SnapshotRequest {
            org_id: org(1).to_string(),
        };
        let stream = feed.snapshot(by(&system, request)).await.unwrap().into_inner();
        let snapshot: Vec<_> = stream.try_collect().await.unwrap();
        let payloads: Vec<_> = snapshot
            .into_iter()
            .filter_map(|response| response.event?.payload)
            .collect();
        assert!(!payloads.is_empty());
        let protects = |payload: &&Payload| matches!(payload, Payload::FamilyProtectionChanged(_));
        assert_eq!(payloads.iter().filter(protects).count(), 0);
        school.env.close().await;
    }
);

// Covers: F12 allowed
on_both!(birth_date_entered_late_acts_at_once, |database| async move {
    let school = School::open(database).await;
    let relation = school.relation_of(&school.father).await;
    school.confirm(&school.teacher, &relation.id, None).await.unwrap();
    school
        .born(&school.administrator, &school.child.member_id, "2008-08-31")
        .await
        .unwrap();
    // The 18th birthday was the last day of the school year.
    assert!(!school.has_relation(&school.father).await);
    school.env.close().await;
});

// Covers: R83 allowed, R83 refused
on_both!(families_do_not_find_protected_adults, |database| async move {
    let school = School::open(database).await;
    for parent in [&school.mother, &school.father] {
        let relation = school.relation_of(parent).await;
        school.confirm(&school.teacher, &relation.id, None).await.unwrap();
    }
    let sees_mother = async |caller| {
        let seen = school.env.list(caller).await.unwrap();
        seen.contains(&"Мария Котова".to_owned())
    };
    assert!(sees_mother(&school.father).await);
    school
        .protect(&school.administrator, school.order(0))
        .await
        .unwrap();
    assert!(!sees_mother(&school.father).await);
    let request = pb::GetMemberRequest {
        org_id: org(1).to_string(),
        member_id: school.mother.member_id.clone(),
    };
    let mut api = school.env.members();
    let refused = api.get_member(by(&school.father.token, request)).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    for caller in [&school.mother, &school.child, &school.teacher] {
        assert!(sees_mother(caller).await);
    }
    school.env.close().await;
});
