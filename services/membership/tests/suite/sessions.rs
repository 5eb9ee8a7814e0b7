//! Sessions and the memberships of an account.
use parta_ids::{MemberId, OrgId, TypedId as _};
use parta_proto::parta::membership::{
    internal::v1::AdmitMemberRequest,
    v1::{self as pb, Role},
};
use parta_testkit::on_both;
use tonic::Status;

use crate::test_env::{Person, Seat, TestEnv, by, org, reason};

/// Adds the person of a seat to the second organization as staff.
async fn join_second(test_env: &TestEnv, seat: &Seat) -> Seat {
    let request = AdmitMemberRequest {
        request_id: test_env.act(),
        org_id: org(2).to_string(),
        invitation_id: test_env.env.id::<parta_ids::InvitationId>().to_string(),
        flow_id: test_env.flow(&seat.person, "second").await,
        role: Role::Staff.into(),
        ..Default::default()
    };
    test_env.admission().admit_member(request).await.unwrap();
    test_env.seat(org(2), seat.person.clone()).await.unwrap()
}

/// Gives a member roles that this build does not know.
async fn give_unknown_roles(test_env: &TestEnv, org: OrgId, member_id: &str) {
    let member = member_id.parse::<MemberId>().unwrap().uuid();
    let sql = format!(
        "UPDATE member SET roles = 1073741824 WHERE org_id = '{}' AND member_id = '{member}'",
        org.uuid()
    );
    test_env.change_row(&sql).await;
}

async fn memberships(test_env: &TestEnv, person: &Person) -> Result<Vec<String>, Status> {
    let request = pb::ListMembershipsRequest::default();
    let mut api = test_env.authentication();
    let answer = api.list_memberships(by(&person.token, request)).await?;
    let list = answer.into_inner().memberships;
    Ok(list.into_iter().map(|membership| membership.org_id).collect())
}

// Covers: R28 allowed, R29 allowed
on_both!(
    unreadable_membership_affects_one_organization_only,
    |database| async move {
        parta_testkit::logs().allow("a stored value is not known to this build");
        parta_testkit::logs().allow("a membership was left out of a list");
        let test_env = TestEnv::open(database).await;
        let first = test_env.administrator(1).await;
        let second = join_second(&test_env, &first).await;
        let person = first.person.clone();
        let both = [org(1).to_string(), org(2).to_string()];
        assert_eq!(memberships(&test_env, &person).await.unwrap(), both);
        give_unknown_roles(&test_env, org(1), &first.member_id).await;
        assert_eq!(memberships(&test_env, &person).await.unwrap(), both[1..]);
        let refused = test_env.seat(org(1), person.clone()).await;
        assert_eq!(reason(&refused), "STORED_VALUE_UNKNOWN");
        let issued = test_env.seat(org(2), person.clone()).await.unwrap();
        assert_eq!(issued.member_id, second.member_id);
        let end = pb::EndSessionRequest {
            request_id: test_env.act(),
            session_id: String::new(),
        };
        let ended = test_env
            .authentication()
            .end_session(by(&person.token, end))
            .await;
        assert_eq!(reason(&ended), "OK");
        let request = pb::ListMembersRequest {
            org_id: org(2).to_string(),
            ..Default::default()
        };
        let refused = test_env.members().list_members(by(&second.token, request)).await;
        assert_eq!(reason(&refused), "CREDENTIAL_REVOKED");
        test_env.close().await;
    }
);
