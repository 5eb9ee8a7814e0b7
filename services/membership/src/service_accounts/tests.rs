//! Service accounts: their permissions and their keys.
use chrono::TimeDelta;
use parta_access::ServiceAccountPermission;
use parta_ids::{ServiceAccountId, TypedId as _};
use parta_proto::{feed::v1::ReadRequest, timestamp};
use parta_proto_membership::v1::{
    self as pb, Role, membership_feed_service_client::MembershipFeedServiceClient,
};
use parta_service_testkit::fields;
use parta_testkit::on_both;
use tonic::Status;

use crate::tests::{
    school::School,
    test_env::{by, org, reason},
};

impl School {
    fn creation(&self, permissions: &[&str]) -> pb::CreateServiceAccountRequest {
        pb::CreateServiceAccountRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            display_name: "Журнал".to_owned(),
            permissions: permissions.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    async fn create(
        &self,
        request: &pb::CreateServiceAccountRequest,
    ) -> Result<pb::CreateServiceAccountResponse, Status> {
        let mut api = self.test_env.service_accounts();
        let request = by(&self.administrator.token, request.clone());
        Ok(api.create_service_account(request).await?.into_inner())
    }

    fn rotation(&self, account: &str) -> pb::RotateServiceAccountKeyRequest {
        pb::RotateServiceAccountKeyRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            service_account_id: account.to_owned(),
        }
    }

    async fn rotate(
        &self,
        request: &pb::RotateServiceAccountKeyRequest,
    ) -> Result<pb::RotateServiceAccountKeyResponse, Status> {
        let mut api = self.test_env.service_accounts();
        let request = by(&self.administrator.token, request.clone());
        Ok(api.rotate_service_account_key(request).await?.into_inner())
    }

    async fn revoke_key(&self, account: &str, key_id: &str) -> Result<(), Status> {
        let request = pb::RevokeServiceAccountKeyRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            service_account_id: account.to_owned(),
            key_id: key_id.to_owned(),
        };
        let mut api = self.test_env.service_accounts();
        api.revoke_service_account_key(by(&self.administrator.token, request))
            .await
            .map(|_| ())
    }

    async fn revoke(&self, account: &str) {
        let request = pb::RevokeServiceAccountRequest {
            request_id: self.test_env.act(),
            org_id: org(1).to_string(),
            service_account_id: account.to_owned(),
        };
        let mut api = self.test_env.service_accounts();
        api.revoke_service_account(by(&self.administrator.token, request))
            .await
            .unwrap();
    }

    async fn issue(&self, key: &str) -> Result<String, Status> {
        let request = pb::IssueServiceAccountTokenRequest { key: key.to_owned() };
        let mut api = self.test_env.service_accounts();
        let issued = api.issue_service_account_token(request).await?;
        Ok(issued.into_inner().access_token)
    }

    async fn list(&self) -> Vec<pb::ServiceAccount> {
        let request = pb::ListServiceAccountsRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.test_env.service_accounts();
        let listed = api
            .list_service_accounts(by(&self.administrator.token, request))
            .await;
        listed.unwrap().into_inner().service_accounts
    }

    /// The recorded use of the only key of the only account.
    async fn last_use(&self) -> Option<prost_types::Timestamp> {
        self.list().await[0].keys[0].last_use_time
    }

    /// Signs the administrator in again, because the tokens have expired.
    async fn sign_in_again(&mut self) {
        let (phone, administrator) = ("+79160000001", &self.administrator);
        self.administrator = self.test_env.sign_in_again(phone, administrator).await;
    }

    async fn read_roster(&self, token: &str) -> Result<(), Status> {
        let request = pb::ListMembersRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = self.test_env.members();
        api.list_members(by(token, request)).await.map(|_| ())
    }

    async fn read_feed(&self, token: &str) -> Result<(), Status> {
        let request = ReadRequest {
            org_id: org(1).to_string(),
            ..Default::default()
        };
        let mut api = MembershipFeedServiceClient::new(self.test_env.outside());
        api.read(by(token, request)).await.map(|_| ())
    }
}

// Covers: R30 refused, R80 refused
on_both!(
    wrong_permissions_are_refused_by_their_index,
    |database| async move {
        let school = School::open(database).await;
        let many = vec!["roster.read"; 21];
        for (names, wrong) in [
            (&[][..], &["permissions"][..]),
            (&many, &["permissions"]),
            // The old name of the feeds, a name that never existed, and other spellings.
            (&["feed.watch"], &["permissions[0]"]),
            (
                &["roster.read", "members.write", "Roster.Read", "", "roster.read "],
                &[
                    "permissions[1]",
                    "permissions[2]",
                    "permissions[3]",
                    "permissions[4]",
                ],
            ),
            (
                &["roster.read", "chat_feed.read", "roster.read"],
                &["permissions[2]"],
            ),
        ] {
            let refused = school.create(&school.creation(names)).await.unwrap_err();
            assert_eq!(fields(&refused), wrong, "{names:?}");
        }
        assert!(school.list().await.is_empty());
        school.test_env.close().await;
    }
);

// Covers: R30 allowed, R30 refused
on_both!(catalog_is_what_an_account_can_have, |database| async move {
    let school = School::open(database).await;
    let request = pb::GetPermissionCatalogRequest {
        org_id: org(1).to_string(),
    };
    let mut api = school.test_env.service_accounts();
    let catalog = api
        .get_permission_catalog(by(&school.administrator.token, request.clone()))
        .await;
    let catalog = catalog.unwrap().into_inner().permissions;
    let names: Vec<_> = catalog.iter().map(|of| of.name.as_str()).collect();
    assert_eq!(
        names,
        ServiceAccountPermission::ALL.map(ServiceAccountPermission::name)
    );
    let made = school.create(&school.creation(&names)).await.unwrap();
    let mut granted = made.service_account.unwrap().permissions;
    granted.sort_unstable();
    let mut all = names.clone();
    all.sort_unstable();
    assert_eq!(granted, all);
    let pupil = school
        .test_env
        .join("+79161111111", "Иван Иванов", Role::Staff, |_| ())
        .await;
    let refused = api.get_permission_catalog(by(&pupil.token, request)).await;
    assert_eq!(reason(&refused), "PERMISSION_DENIED");
    school.test_env.close().await;
});

// Another build may have stored names that this one does not know, and feed.watch is of an earlier one.
// Covers: R30 refused
on_both!(
    stored_permission_of_another_build_gives_nothing,
    |database| async move {
        let school = School::open(database).await;
        let made = school.create(&school.creation(&["roster.read"])).await.unwrap();
        let account: ServiceAccountId = made.service_account.unwrap().id.parse().unwrap();
        let store = async |names: &str| {
            let assignment = format!("permissions = '{names}'");
            let test_env = &school.test_env;
            test_env
                .change_row(
                    "service_account",
                    &assignment,
                    "service_account_id",
                    account.uuid(),
                )
                .await;
        };
        store("feed.watch roster.read future.write").await;
        assert_eq!(school.list().await[0].permissions, ["roster.read"]);
        let token = school.issue(&made.key).await.unwrap();
        school.read_roster(&token).await.unwrap();
        assert_eq!(reason(&school.read_feed(&token).await), "CALLER_NOT_ACCEPTED");
        store("feed.watch").await;
        assert!(school.list().await[0].permissions.is_empty());
        let token = school.issue(&made.key).await.unwrap();
        assert_eq!(reason(&school.read_roster(&token).await), "CALLER_NOT_ACCEPTED");
        assert_eq!(reason(&school.read_feed(&token).await), "CALLER_NOT_ACCEPTED");
        school.test_env.close().await;
    }
);

// Covers: R30 allowed, R30 refused
on_both!(second_key_takes_over_from_the_first, |database| async move {
    let school = School::open(database).await;
    let made = school.create(&school.creation(&["roster.read"])).await.unwrap();
    let account = made.service_account.unwrap();
    let first = account.keys[0].id.clone();
    let old = school.issue(&made.key).await.unwrap();

    let rotation = school.rotation(&account.id);
    let rotated = school.rotate(&rotation).await.unwrap();
    assert_ne!(rotated.key, made.key);
    let keys = &rotated.service_account.as_ref().unwrap().keys;
    let ids: Vec<_> = keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, [&first, &rotated.key_id]);
    // A repetition returns the key again and makes no third one.
    let again = school.rotate(&rotation).await.unwrap();
    assert_eq!((&again.key, &again.key_id), (&rotated.key, &rotated.key_id));
    let third = school.rotate(&school.rotation(&account.id)).await;
    assert_eq!(reason(&third), "SERVICE_ACCOUNT_KEY_LIMIT");

    // Both keys work until the first is revoked; then its tokens end, and those of the second do not.
    let new = school.issue(&rotated.key).await.unwrap();
    for token in [&old, &new] {
        school.read_roster(token).await.unwrap();
    }
    school.revoke_key(&account.id, &first).await.unwrap();
    assert_eq!(reason(&school.read_roster(&old).await), "CREDENTIAL_REVOKED");
    school.read_roster(&new).await.unwrap();
    assert_eq!(
        reason(&school.issue(&made.key).await),
        "SERVICE_ACCOUNT_KEY_INVALID"
    );
    assert_eq!(reason(&school.revoke_key(&account.id, &first).await), "NOT_FOUND");

    // The only key of an account can be revoked at once, and a next one be created afterwards.
    school.revoke_key(&account.id, &rotated.key_id).await.unwrap();
    assert_eq!(reason(&school.read_roster(&new).await), "CREDENTIAL_REVOKED");
    assert!(school.list().await[0].keys.is_empty());
    let next = school.rotate(&school.rotation(&account.id)).await.unwrap();
    let token = school.issue(&next.key).await.unwrap();
    school.read_roster(&token).await.unwrap();

    // The account takes its keys along.
    school.revoke(&account.id).await;
    assert_eq!(reason(&school.read_roster(&token).await), "CREDENTIAL_REVOKED");
    assert_eq!(
        reason(&school.issue(&next.key).await),
        "SERVICE_ACCOUNT_KEY_INVALID"
    );
    let refused = school.rotate(&school.rotation(&account.id)).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    // Every key stands in the list that the other processes poll.
    let listed = school.test_env.revocations("chat", "").await.unwrap();
    let mut listed = listed[0].service_account_key_ids.clone();
    listed.sort_unstable();
    let mut revoked = vec![first, rotated.key_id, next.key_id];
    revoked.sort_unstable();
    assert_eq!(listed, revoked);
    school.test_env.close().await;
});

// Covers: R30 refused
on_both!(repetition_gives_no_key_that_was_revoked, |database| async move {
    let school = School::open(database).await;
    let creation = school.creation(&["roster.read"]);
    let made = school.create(&creation).await.unwrap();
    let account = made.service_account.unwrap();
    let rotation = school.rotation(&account.id);
    let rotated = school.rotate(&rotation).await.unwrap();
    school.revoke_key(&account.id, &account.keys[0].id).await.unwrap();
    assert_eq!(reason(&school.create(&creation).await), "NOT_FOUND");
    assert_eq!(school.rotate(&rotation).await.unwrap().key, rotated.key);
    school.revoke(&account.id).await;
    assert_eq!(reason(&school.create(&creation).await), "NOT_FOUND");
    assert_eq!(reason(&school.rotate(&rotation).await), "NOT_FOUND");
    school.test_env.close().await;
});

on_both!(use_of_a_key_is_recorded_once_an_hour, |database| async move {
    let mut school = School::open(database).await;
    let made = school.create(&school.creation(&["roster.read"])).await.unwrap();
    assert_eq!(school.last_use().await, None);
    let first = school.test_env.env.now();
    school.issue(&made.key).await.unwrap();
    assert_eq!(school.last_use().await, Some(timestamp(first)));
    school.test_env.time.advance(TimeDelta::minutes(59));
    school.sign_in_again().await;
    school.issue(&made.key).await.unwrap();
    assert_eq!(school.last_use().await, Some(timestamp(first)));
    school.test_env.time.advance(TimeDelta::minutes(1));
    let later = school.test_env.env.now();
    // Calls at the same time record one use.
    let calls = (0..4).map(|_| school.issue(&made.key));
    futures::future::try_join_all(calls).await.unwrap();
    assert_eq!(school.last_use().await, Some(timestamp(later)));
    school.test_env.close().await;
});

// Covers: R30 refused
on_both!(rotations_at_the_same_time_make_two_keys, |database| async move {
    let school = School::open(database).await;
    let made = school.create(&school.creation(&["roster.read"])).await.unwrap();
    let account = made.service_account.unwrap();
    let requests: Vec<_> = (0..4).map(|_| school.rotation(&account.id)).collect();
    let rotated = futures::future::join_all(requests.iter().map(|request| school.rotate(request))).await;
    let reasons: Vec<_> = rotated
        .iter()
        .filter(|result| result.is_err())
        .map(reason)
        .collect();
    assert_eq!(reasons, ["SERVICE_ACCOUNT_KEY_LIMIT"; 3]);
    assert_eq!(school.list().await[0].keys.len(), 2);
    school.test_env.close().await;
});

// Covers: R30 refused, R59 refused
on_both!(
    keys_are_of_one_account_of_one_organization,
    |database| async move {
        let school = School::open(database).await;
        let other = school.test_env.administrator(2).await;
        let made = school.create(&school.creation(&["roster.read"])).await.unwrap();
        let account = made.service_account.unwrap();
        let second = school.create(&school.creation(&["roster.read"])).await.unwrap();
        let second = second.service_account.unwrap();
        // The key of another account.
        let refused = school.revoke_key(&second.id, &account.keys[0].id).await;
        assert_eq!(reason(&refused), "NOT_FOUND");
        // An administrator of another organization, here and there, an employee, and the account itself.
        let employee = school
            .test_env
            .join("+79161111111", "Иван Иванов", Role::Staff, |_| ())
            .await;
        let token = school.issue(&made.key).await.unwrap();
        for (token, of, expected) in [
            (&other.token, org(1), "NOT_FOUND"),
            (&other.token, org(2), "NOT_FOUND"),
            (&employee.token, org(1), "PERMISSION_DENIED"),
            (&token, org(1), "CALLER_NOT_ACCEPTED"),
        ] {
            let mut api = school.test_env.service_accounts();
            let rotation = pb::RotateServiceAccountKeyRequest {
                org_id: of.to_string(),
                ..school.rotation(&account.id)
            };
            let refused = api.rotate_service_account_key(by(token, rotation)).await;
            assert_eq!(reason(&refused), expected);
            let revocation = pb::RevokeServiceAccountKeyRequest {
                request_id: school.test_env.act(),
                org_id: of.to_string(),
                service_account_id: account.id.clone(),
                key_id: account.keys[0].id.clone(),
            };
            let refused = api.revoke_service_account_key(by(token, revocation)).await;
            assert_eq!(reason(&refused), expected);
        }
        let wrong = pb::RevokeServiceAccountKeyRequest {
            request_id: "1".to_owned(),
            ..Default::default()
        };
        let mut api = school.test_env.service_accounts();
        let refused = api
            .revoke_service_account_key(by(&school.administrator.token, wrong))
            .await;
        let expected = ["key_id", "org_id", "request_id", "service_account_id"];
        assert_eq!(fields(&refused.unwrap_err()), expected);
        let wrong = pb::RotateServiceAccountKeyRequest::default();
        let refused = api
            .rotate_service_account_key(by(&school.administrator.token, wrong))
            .await;
        let expected = ["org_id", "request_id", "service_account_id"];
        assert_eq!(fields(&refused.unwrap_err()), expected);
        assert_eq!(school.list().await.len(), 2);
        school.test_env.close().await;
    }
);

// A restored database does not know which keys were revoked after the backup. The account keeps its name and
// its permissions, and a new key works.
// Covers: R30 refused
on_both!(keys_are_revoked_after_a_restore, |database| async move {
    let school = School::open(database).await;
    let made = school.create(&school.creation(&["roster.read"])).await.unwrap();
    let account = made.service_account.unwrap();
    school.rotate(&school.rotation(&account.id)).await.unwrap();
    let db = &school.test_env.db;
    for revoked in [2, 0] {
        assert_eq!(crate::revoke_all_service_account_keys(db).await.unwrap(), revoked);
    }
    assert_eq!(
        reason(&school.issue(&made.key).await),
        "SERVICE_ACCOUNT_KEY_INVALID"
    );
    let listed = school.list().await;
    assert_eq!(listed[0].permissions, ["roster.read"]);
    assert!(listed[0].keys.is_empty());
    let next = school.rotate(&school.rotation(&account.id)).await.unwrap();
    let token = school.issue(&next.key).await.unwrap();
    school.read_roster(&token).await.unwrap();
    school.test_env.close().await;
});
