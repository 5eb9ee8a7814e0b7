//! Revoked invitations: their requests end at once, and they admit no person later.
use parta_proto_membership::internal::v1::EndInvitationsRequest;
use sea_orm::{ConnectionTrait as _, Statement};

use super::*;

impl School {
    async fn end(&self, links: &[&str], request_id: &str) -> Result<(), Status> {
        let request = EndInvitationsRequest {
            request_id: request_id.to_owned(),
            org_id: org(1).to_string(),
            invitation_ids: links.iter().map(|link| (*link).to_owned()).collect(),
        };
        self.env.admission().end_invitations(request).await.map(drop)
    }

    async fn count(&self, sql: &str) -> i64 {
        let db = &self.env.db;
        let statement = Statement::from_string(db.backend(), sql);
        let row = db.conn().query_one_raw(statement).await.unwrap();
        row.unwrap().try_get("", "n").unwrap()
    }
}

// Covers: R18 refused, F8 refused
on_both!(revoked_link_ends_its_requests, |database| async move {
    let school = School::open(database).await;
    let first = school.env.newcomer("+79161111111", "Ян Котов").await;
    let second = school.env.newcomer("+79162222222", "Ева Котова").await;
    let link = school.open_link(&first, Role::Pupil).await;
    let requested = school.admit(link.clone()).await.unwrap();
    let kept = school.request(&second, Role::Pupil).await;
    let revoked = link.invitation_id.as_str();
    let act = school.env.act();
    for request_id in [&act, &act, &school.env.act()] {
        school.end(&[revoked], request_id).await.unwrap();
    }
    let states = async |person: &Person| -> Vec<_> {
        let own = school.own(person).await;
        own.iter().map(pb::OwnJoinRequest::state).collect()
    };
    assert_eq!(states(&first).await, [JoinRequestState::InvitationRevoked]);
    assert_eq!(states(&second).await, [JoinRequestState::Pending]);
    let listed = school.list(&school.teacher).await.unwrap();
    assert_eq!((listed.len(), listed[0].id.as_str()), (1, kept.as_str()));
    let id = requested.join_request_id.as_str();
    for accept in [true, false] {
        assert_eq!(
            reason(&school.decide(&school.teacher, &[(id, accept, "")]).await),
            "JOIN_REQUEST_DECIDED"
        );
    }
    assert_eq!(reason(&school.withdraw(&first, id).await), "JOIN_REQUEST_DECIDED");
    // The lost response of an acceptance is repeated. Another acceptance makes no request.
    assert_eq!(school.admit(link.clone()).await.unwrap().join_request_id, id);
    for open in [true, false] {
        let late = AdmitMemberRequest {
            request_id: school.env.act(),
            open,
            ..link.clone()
        };
        assert_eq!(reason(&school.admit(late).await), "INVITATION_ENDED");
    }
    school.env.close().await;
});

// A person who joined before the revocation stays a member, and finds that by the same link.
// Covers: R16 allowed
on_both!(revoked_link_keeps_its_members, |database| async move {
    let school = School::open(database).await;
    let person = school.env.newcomer("+79161111111", "Ян Котов").await;
    let link = AdmitMemberRequest {
        open: false,
        ..school.open_link(&person, Role::Pupil).await
    };
    let joined = school.admit(link.clone()).await.unwrap();
    school
        .end(&[&link.invitation_id], &school.env.act())
        .await
        .unwrap();
    let again = AdmitMemberRequest {
        request_id: school.env.act(),
        ..link
    };
    let again = school.admit(again).await.unwrap();
    assert_eq!((again.member_id, again.already_member), (joined.member_id, true));
    school.env.close().await;
});

// Covers: R18 refused
on_both!(
    acceptance_meets_the_revocation_of_its_link,
    |database| async move {
        let school = School::open(database).await;
        for round in 0..8 {
            let phone = format!("+7916{:07}", 7_000_000 + round);
            let person = school.env.newcomer(&phone, "Ян Котов").await;
            let link = school.open_link(&person, Role::Pupil).await;
            let revoked = link.invitation_id.clone();
            let act = school.env.act();
            let (admitted, ended) =
                futures::future::join(school.admit(link), school.end(&[&revoked], &act)).await;
            ended.unwrap();
            assert!(
                ["OK", "INVITATION_ENDED"].contains(&reason(&admitted).as_str()),
                "{admitted:?}"
            );
            let pending = "SELECT COUNT(*) AS n FROM join_request WHERE state = 1";
            assert_eq!(school.count(pending).await, 0, "round {round}");
        }
        school.env.close().await;
    }
);

// A database that was restored refuses the requests that had ended after its backup, once, and no other ones.
// Covers: R81 allowed
on_both!(restored_requests_are_refused_again, |database| async move {
    let school = School::open(database).await;
    let first = school.env.newcomer("+79161111111", "Ян Котов").await;
    let second = school.env.newcomer("+79162222222", "Ева Котова").await;
    let ended = school.request(&first, Role::Pupil).await;
    let accepted = school.request(&second, Role::Pupil).await;
    school
        .decide(&school.teacher, &[(&accepted, true, "")])
        .await
        .unwrap();
    school.request(&second, Role::Pupil).await;
    let requests = [&ended, &accepted].map(|id| id.parse().unwrap()).into();
    for count in [1, 0] {
        let again = crate::refuse_requests_again(&school.env.db, org(1), &requests);
        assert_eq!(again.await.unwrap(), count);
    }
    assert_eq!(school.own(&first).await[0].state(), JoinRequestState::Refused);
    let states: Vec<_> = school
        .own(&second)
        .await
        .iter()
        .map(pb::OwnJoinRequest::state)
        .collect();
    assert_eq!(states, [JoinRequestState::Pending, JoinRequestState::Accepted]);
    school.env.close().await;
});

on_both!(wrong_fields_of_an_end_are_named, |database| async move {
    let school = School::open(database).await;
    let person = school.env.newcomer("+79161111111", "Ян Котов").await;
    let good = school.open_link(&person, Role::Pupil).await.invitation_id;
    let none = school.end(&[], &school.env.act()).await;
    assert_eq!(fields(&none.unwrap_err()), ["invitation_ids"]);
    let wrong = school.end(&[&good, "inv_wrong"], "no UUID").await;
    assert_eq!(fields(&wrong.unwrap_err()), ["invitation_ids[1]", "request_id"]);
    school.env.close().await;
});

// A link may be as old as a year, and a backup of invitation brings it back. Its end is noted for ever.
// Covers: F8 refused
on_both!(revoked_link_admits_nobody_a_year_later, |database| async move {
    let school = School::open(database).await;
    let first = school.env.newcomer("+79161111111", "Ян Котов").await;
    let revoked = school.open_link(&first, Role::Pupil).await.invitation_id;
    school.end(&[&revoked], &school.env.act()).await.unwrap();
    school.env.time.advance(TimeDelta::days(400));
    school.env.purge().await;
    let second = school.env.newcomer("+79162222222", "Ева Котова").await;
    for open in [true, false] {
        let late = AdmitMemberRequest {
            invitation_id: revoked.clone(),
            open,
            ..school.open_link(&second, Role::Pupil).await
        };
        assert_eq!(reason(&school.admit(late).await), "INVITATION_ENDED");
    }
    school.env.close().await;
});
