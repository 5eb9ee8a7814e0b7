//! Guardianships at the edge: repetitions are authorized again and show the current state.
mod children;
mod deciding;
mod fixture;
mod limits;
mod notices;

use std::collections::BTreeMap;

use parta_ids::UnitId;
use parta_proto::ProtoCodec;
use parta_proto_membership::v1::{self as pb, AssignmentKind, Role};
use parta_testkit::on_both;
use tonic::{Status, client::Grpc};

use crate::tests::test_env::{MemberSession, TestEnv, by, org, reason, unit};

/// A class with its teacher, a child, and a parent whose guardianship is not confirmed.
struct Family {
    administrator: MemberSession,
    teacher: MemberSession,
    assignment_id: String,
    guardianship_id: String,
}

async fn family(test_env: &TestEnv, class: UnitId) -> Family {
    let administrator = test_env.administrator(1).await;
    let child = test_env
        .join("+79161111111", "Ян Котов", Role::Pupil, |r| {
            r.unit_id = class.to_string();
        })
        .await;
    let parent = test_env
        .join("+79162222222", "Мария Котова", Role::Parent, |r| {
            r.child_id = child.member_id;
        })
        .await;
    let teacher = test_env
        .join("+79163333333", "Олег Волков", Role::Teacher, |_| ())
        .await;
    test_env
        .verify_teacher(&administrator, &teacher.member_id)
        .await
        .unwrap();
    let assignment_id = test_env
        .assign(
            &administrator,
            &teacher.member_id,
            class,
            AssignmentKind::ClassTeacher,
        )
        .await
        .unwrap();
    let list = pb::ListGuardianshipsRequest {
        org_id: org(1).to_string(),
        ..Default::default()
    };
    let listed = test_env
        .guardianships()
        .list_guardianships(by(&parent.token, list))
        .await
        .unwrap();
    Family {
        administrator,
        teacher,
        assignment_id,
        guardianship_id: listed.into_inner().guardianships[0].id.clone(),
    }
}

impl Family {
    fn confirm(&self, test_env: &TestEnv) -> pb::ConfirmGuardianshipRequest {
        pb::ConfirmGuardianshipRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            guardianship_id: self.guardianship_id.clone(),
            ..Default::default()
        }
    }

    fn end(&self, test_env: &TestEnv) -> pb::EndGuardianshipRequest {
        pb::EndGuardianshipRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            guardianship_id: self.guardianship_id.clone(),
            cause: "Решение суда".to_owned(),
        }
    }

    async fn take_class_away(&self, test_env: &TestEnv) {
        let request = pb::EndAssignmentRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            assignment_id: self.assignment_id.clone(),
        };
        test_env
            .assignments()
            .end_assignment(by(&self.administrator.token, request))
            .await
            .unwrap();
    }
}

async fn confirm(
    test_env: &TestEnv,
    caller: &MemberSession,
    request: &pb::ConfirmGuardianshipRequest,
) -> Result<pb::ConfirmGuardianshipResponse, Status> {
    let mut api = test_env.guardianships();
    let response = api
        .confirm_guardianship(by(&caller.token, request.clone()))
        .await?;
    Ok(response.into_inner())
}

async fn end(
    test_env: &TestEnv,
    caller: &MemberSession,
    request: &pb::EndGuardianshipRequest,
) -> Result<(), Status> {
    let mut api = test_env.guardianships();
    api.end_guardianship(by(&caller.token, request.clone())).await?;
    Ok(())
}

// Covers: R27 allowed, R27 refused
on_both!(
    repetition_is_refused_when_the_right_has_ended,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let family = family(&test_env, unit(1)).await;
        let request = family.confirm(&test_env);
        let first = confirm(&test_env, &family.teacher, &request).await.unwrap();
        assert!(first.guardianship.unwrap().confirmed);
        let again = confirm(&test_env, &family.teacher, &request).await.unwrap();
        assert!(again.guardianship.unwrap().confirmed);
        family.take_class_away(&test_env).await;
        // The teacher may no longer know of the guardianship, and therefore not of the earlier request.
        let again = confirm(&test_env, &family.teacher, &request).await;
        assert_eq!(reason(&again), "NOT_FOUND");
        let other = pb::ConfirmGuardianshipRequest {
            request_id: request.request_id,
            ..family.confirm(&test_env)
        };
        assert_eq!(
            reason(&confirm(&test_env, &family.teacher, &other).await),
            "NOT_FOUND"
        );
        test_env.close().await;
    }
);

on_both!(repetition_with_another_body_is_refused, |database| async move {
    let test_env = TestEnv::open(database).await;
    let family = family(&test_env, unit(1)).await;
    let request = family.end(&test_env);
    end(&test_env, &family.administrator, &request).await.unwrap();
    let other = pb::EndGuardianshipRequest {
        cause: "Заявление".to_owned(),
        ..request.clone()
    };
    let refused = end(&test_env, &family.administrator, &other).await;
    assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
    // Only a repetition finds the ended guardianship.
    end(&test_env, &family.administrator, &request).await.unwrap();
    let refused = end(&test_env, &family.administrator, &family.end(&test_env)).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    let refused = confirm(&test_env, &family.administrator, &family.confirm(&test_env)).await;
    assert_eq!(reason(&refused), "NOT_FOUND");
    test_env.close().await;
});

/// [`pb::ConfirmGuardianshipRequest`] with a field of a later release.
#[derive(Clone, PartialEq, prost::Message)]
struct LaterRequest {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(string, tag = "2")]
    org_id: String,
    #[prost(string, tag = "3")]
    guardianship_id: String,
    #[prost(string, tag = "900")]
    note: String,
}

on_both!(
    repetition_is_compared_by_the_bytes_received,
    |database| async move {
        let test_env = TestEnv::open(database).await;
        let family = family(&test_env, unit(1)).await;
        let request = LaterRequest {
            request_id: test_env.act(),
            org_id: org(1).to_string(),
            guardianship_id: family.guardianship_id.clone(),
            note: "one".to_owned(),
        };
        let send = async |note: &str| -> Result<pb::ConfirmGuardianshipResponse, Status> {
            let mut client = Grpc::new(test_env.outside());
            client.ready().await.unwrap();
            let request = LaterRequest {
                note: note.to_owned(),
                ..request.clone()
            };
            let path = "/parta.membership.v1.GuardianshipService/ConfirmGuardianship";
            let response = client.unary(
                by(&family.administrator.token, request),
                path.parse().unwrap(),
                ProtoCodec::default(),
            );
            Ok(response.await?.into_inner())
        };
        send("one").await.unwrap();
        send("one").await.unwrap();
        // This build does not know the field. The request differs nevertheless.
        assert_eq!(reason(&send("two").await), "REQUEST_ID_REUSED");
        test_env.close().await;
    }
);

on_both!(every_wrong_field_of_a_request_is_named, |database| async move {
    let test_env = TestEnv::open(database).await;
    let administrator = test_env.administrator(1).await;
    let request = pb::EndGuardianshipRequest {
        request_id: "again".to_owned(),
        org_id: "school".to_owned(),
        guardianship_id: String::new(),
        cause: String::new(),
    };
    let refused = end(&test_env, &administrator, &request).await.unwrap_err();
    let fields = parta_status::RpcError::from_status(&refused).unwrap();
    let named: BTreeMap<_, _> = fields.fields().iter().cloned().collect();
    let names: Vec<_> = named.keys().map(String::as_str).collect();
    assert_eq!(names, ["cause", "guardianship_id", "org_id", "request_id"]);
    let request = pb::ListGuardianshipsRequest {
        org_id: org(1).to_string(),
        child_id: "child".to_owned(),
        page_size: -1,
        ..Default::default()
    };
    let mut api = test_env.guardianships();
    let refused = api.list_guardianships(by(&administrator.token, request)).await;
    let refused = parta_status::RpcError::from_status(&refused.unwrap_err()).unwrap();
    let mut names: Vec<_> = refused.fields().iter().map(|(path, _)| path.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["child_id", "page_size"]);
    test_env.close().await;
});
