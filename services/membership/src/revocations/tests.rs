use std::sync::Arc;

use chrono::TimeDelta;
use parta_access::{REVOCATION_LIFETIME, Revoked};
use parta_database::Db;
use parta_proto_membership::{
    internal::v1::{AdmitMemberRequest, GetRevocationsResponse},
    v1 as pb,
};
use parta_testkit::{on_both, on_postgres};
use sea_orm::ConnectionTrait as _;
use tokio::{sync::oneshot, time::Instant};

use super::{RevocationReader, model::RevocationList, operations::Reading, purge};
use crate::tests::test_env::{MemberSession, TestEnv, by, org, reason, unit};

/// The list that the responses make up.
fn list(responses: &[GetRevocationsResponse]) -> Revoked {
    let revisions: Vec<_> = responses.iter().map(|response| &response.revision).collect();
    assert!(revisions.iter().all(|revision| *revision == revisions[0]));
    let sessions = responses.iter().flat_map(|response| &response.session_ids);
    let keys = responses
        .iter()
        .flat_map(|response| &response.service_account_key_ids);
    Revoked {
        sessions: sessions.map(|id| id.parse().unwrap()).collect(),
        service_account_keys: keys.map(|id| id.parse().unwrap()).collect(),
    }
}

async fn end_session(test_env: &TestEnv, of: &MemberSession) {
    let request = pb::EndSessionRequest {
        request_id: test_env.act(),
        ..Default::default()
    };
    let ended = test_env
        .authentication()
        .end_session(by(&of.person.token, request))
        .await;
    ended.unwrap();
}

/// The number of rows of both tables.
async fn rows(db: &Db) -> usize {
    let mut count = 0;
    for table in ["ended_session", "revoked_service_account_key"] {
        let sql = format!("SELECT * FROM {table}");
        let statement = sea_orm::Statement::from_string(db.backend(), sql);
        count += db.conn().query_all_raw(statement).await.unwrap().len();
    }
    count
}

on_both!(
    ended_session_is_listed_for_every_organization_of_the_person,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let here = test_env.administrator(1).await;
        // The same person was a pupil of the other school.
        let flow_id = test_env.flow(&here.person, "link").await;
        let request = AdmitMemberRequest {
            request_id: test_env.act(),
            org_id: org(2).to_string(),
            invitation_id: test_env.env.id::<parta_ids::InvitationId>().to_string(),
            flow_id,
            role: pb::Role::Pupil.into(),
            unit_id: unit(1).to_string(),
            issuer_id: test_env.env.id::<parta_ids::MemberId>().to_string(),
            ..Default::default()
        };
        test_env.admission().admit_member(request).await.unwrap();
        let there = test_env
            .member_session(org(2), here.person.clone())
            .await
            .unwrap();
        let administrator = test_env.administrator(2).await;
        let remove = pb::RemoveMemberRequest {
            request_id: test_env.act(),
            org_id: org(2).to_string(),
            member_id: there.member_id.clone(),
            ..Default::default()
        };
        test_env
            .members()
            .remove_member(by(&administrator.token, remove))
            .await
            .unwrap();
        let before = test_env.revocations("chat", "").await.unwrap();
        assert!(list(&before).is_empty());
        end_session(&test_env, &here).await;
        let responses = test_env.revocations("chat", &before[0].revision).await.unwrap();
        let revoked = list(&responses);
        assert_eq!(revoked.len(), 3, "two organizations and join tickets");
        // A process that received the list refuses the tokens of both organizations.
        let verifier = test_env.new_verifier();
        for token in [&here.token, &there.token] {
            assert!(verifier.caller(token, "rpc").await.is_ok());
        }
        verifier
            .record_revocations(Instant::now(), Some(&revoked))
            .unwrap();
        for token in [&here.token, &there.token] {
            let refused = verifier.caller(token, "rpc").await.unwrap_err();
            assert_eq!(refused.reason(), "CREDENTIAL_REVOKED");
        }
        // The session of the account itself leaves the service under no id.
        assert!(!format!("{responses:?}").contains(&here.person.session_id));

        // Another replica reports the same revision, and does not repeat the list.
        let known = &responses[0].revision;
        let again = test_env.revocations("invitation", known).await.unwrap();
        assert_eq!(again.len(), 1);
        assert!(again[0].unchanged && again[0].revision == *known && list(&again).is_empty());
        let long = "r".repeat(65);
        assert_eq!(
            reason(&test_env.revocations("chat", &long).await),
            "FIELD_INVALID"
        );
        test_env.close().await;
    }
);

on_both!(
    revocations_are_listed_for_15_minutes_and_purged,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let create = pb::CreateServiceAccountRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            display_name: "Журнал".to_owned(),
            permissions: vec!["roster.read".to_owned()],
        };
        let mut api = test_env.service_accounts();
        let made = api.create_service_account(by(&administrator.token, create)).await;
        let account = made.unwrap().into_inner().service_account.unwrap();
        let key = account.keys[0].id.parse().unwrap();
        let revoke = pb::RevokeServiceAccountRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            service_account_id: account.id,
        };
        // A repetition revokes once.
        for _ in 0..2 {
            api.revoke_service_account(by(&administrator.token, revoke.clone()))
                .await
                .unwrap();
        }
        end_session(&test_env, &administrator).await;
        let listed = async || list(&test_env.revocations("chat", "").await.unwrap());
        let first = listed().await;
        assert_eq!(first.service_account_keys, [key]);
        assert_eq!(first.sessions.len(), 2, "the organization and join tickets");
        test_env.time.advance(REVOCATION_LIFETIME - TimeDelta::seconds(1));
        assert_eq!(listed().await, first);
        assert_eq!(purge(&test_env.db).await.unwrap(), 0);
        assert_eq!(rows(&test_env.db).await, 2);
        test_env.time.advance(TimeDelta::seconds(2));
        assert!(listed().await.is_empty());
        assert_eq!(purge(&test_env.db).await.unwrap(), 2);
        assert_eq!(rows(&test_env.db).await, 0);
        test_env.close().await;
    }
);

on_both!(
    session_ended_by_a_slow_replica_is_listed_as_long,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        test_env.time.set_ahead(-TimeDelta::minutes(6));
        let administrator = test_env.administrator(1).await;
        end_session(&test_env, &administrator).await;
        test_env.time.set_ahead(TimeDelta::zero());
        test_env.time.advance(REVOCATION_LIFETIME - TimeDelta::seconds(1));
        let listed = list(&test_env.revocations("chat", "").await.unwrap());
        assert_eq!(listed.sessions.len(), 2, "the organization and join tickets");
        assert_eq!(purge(&test_env.db).await.unwrap(), 0);
        test_env.close().await;
    }
);

on_both!(fast_replica_purges_no_fresh_revocation, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    end_session(&test_env, &administrator).await;
    test_env.time.set_ahead(TimeDelta::hours(1));
    assert_eq!(purge(&test_env.db).await.unwrap(), 0);
    let listed = list(&test_env.revocations("chat", "").await.unwrap());
    assert_eq!(listed.sessions.len(), 2, "the organization and join tickets");
    test_env.close().await;
});

on_postgres!(
    list_of_a_deposed_primary_is_refused,
    "an SQLite file is not replicated",
    |database| async move {
        parta_testkit::logs().allow("the database is unavailable");
        let test_env = TestEnv::open(database).await;
        let execute = async |sql: &str| test_env.db.writer().execute_unprepared(sql).await.unwrap();
        execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE 'cannot execute INSERT in a read-only transaction' USING ERRCODE = '25006'; END $$",
        )
        .await;
        execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON feed_pulse FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
        )
        .await;
        let refused = test_env.revocations("chat", "").await;
        assert_eq!(reason(&refused), "DEPENDENCY_UNAVAILABLE");
        execute("DROP TRIGGER refuse ON feed_pulse").await;
        assert!(list(&test_env.revocations("chat", "").await.unwrap()).is_empty());
        test_env.close().await;
    }
);

on_both!(
    callers_of_one_process_share_a_reading_for_500_ms,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let administrator = test_env.administrator(1).await;
        let reader = RevocationReader::new(test_env.db.clone(), test_env.secrets());
        let first = reader.current().await.unwrap();
        let begun = Instant::now();
        end_session(&test_env, &administrator).await;
        let second = parta_testkit::eventually("the next reading", async || {
            let list = reader.current().await.unwrap();
            let read_again = !Arc::ptr_eq(&list, &first);
            // The clock is read after the call, so that a machine that stops in between proves nothing wrong.
            assert!(read_again || begun.elapsed().as_secs() < 2, "a list is too old");
            read_again.then_some(list)
        })
        .await;
        assert_eq!((first.revoked.len(), second.revoked.len()), (0, 2));
        assert_ne!(first.revision, second.revision);
        // Callers at the same time wait for one reading.
        let lists = futures::future::join_all((0..8).map(|_| reader.current())).await;
        let distinct = lists.windows(2).filter(|pair| {
            let [one, other] = pair else { return false };
            !Arc::ptr_eq(one.as_ref().unwrap(), other.as_ref().unwrap())
        });
        assert!(distinct.count() <= 1);
        test_env.close().await;
    }
);

// A read that takes longer than its caller waits for it continues with the next caller.
on_both!(list_is_read_on_after_its_caller_has_gone, |database| async move {
    let test_env = TestEnv::open(database).await;
    let reader = RevocationReader::new(test_env.db.clone(), test_env.secrets());
    let (answer, answered) = oneshot::channel();
    let reading = Reading::begin(async { Ok(answered.await.unwrap()) });
    let begun = reading.begun;
    *reader.last.lock().unwrap() = Some(reading);
    let mut first = Box::pin(reader.current());
    assert!(futures::poll!(&mut first).is_pending());
    drop(first);
    answer.send(RevocationList::new(Revoked::default())).unwrap();
    let list = reader.current().await.unwrap();
    assert!(list.revoked.is_empty());
    let last = reader.last.lock().unwrap().as_ref().map(|reading| reading.begun);
    assert_eq!(last, Some(begun));
    test_env.close().await;
});
