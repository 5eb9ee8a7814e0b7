//! The service under test with a fake chat service.
use std::sync::Arc;

use parta_grpc::{InMemoryTransport, ServiceChannel};
use parta_ids::MemberId;
use parta_jobs::JobRunner;
use parta_proto_call_scheduling::v1::{self as pb, call_service_client::CallServiceClient};
use parta_service_testkit::{School, ServiceEnv, with_token};
use parta_testkit::{MediaServer, TestDatabase};
use prost_types::Timestamp;
use tonic::Status;

use crate::{
    Config, GRPC_SERVICES, Ports,
    assembly::roster_observer,
    tests::chat::{self, Chat},
};

pub(crate) struct Fixture {
    pub(crate) test_env: Arc<ServiceEnv>,
    pub(crate) school: School,
    pub(crate) chat: Chat,
    pub(crate) transport: InMemoryTransport,
    pub(crate) client: CallServiceClient<ServiceChannel>,
    jobs: JobRunner,
}

/// Converts an RFC 3339 time to its message.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    let time: chrono::DateTime<chrono::Utc> = text.parse().unwrap();
    Some(Timestamp {
        seconds: time.timestamp(),
        nanos: 0,
    })
}

pub(crate) fn count(count: i32) -> Option<pb::WeeklyRecurrence> {
    Some(pb::WeeklyRecurrence {
        interval: 1,
        end: Some(pb::weekly_recurrence::End::Count(count)),
    })
}

impl Fixture {
    /// Starts the service on the database. The clock is set to Tuesday, 2026-09-01, 11:00 in Moscow.
    pub(crate) async fn open(database: &TestDatabase) -> Self {
        Self::open_with(database, "wss://media.school.example").await
    }

    /// [`Fixture::open`] with a media server at this address.
    pub(crate) async fn open_with(database: &TestDatabase, media_url: &str) -> Self {
        let migrations = crate::migrations();
        let test_env = ServiceEnv::open(database, "call-scheduling", migrations).await;
        let test_env = Arc::new(test_env.observed_by(roster_observer()));
        let school = School::create(&test_env).await;
        let chat = Chat::default();
        let transport = test_env.serve(&[chat::NAME], chat.routes());
        let ports = Ports {
            config: Config {
                livekit_url: media_url.to_owned(),
                livekit_api_key: MediaServer::API_KEY.to_owned(),
                livekit_api_secret: Some(MediaServer::API_SECRET.into()),
                livekit_ca_file: None,
            },
            db: test_env.db.clone(),
            roster: test_env.roster(),
            secrets: test_env.secrets.clone(),
            verifier: test_env.verifier.clone(),
            clients: test_env.clients(vec![("chat", transport)]),
            draining: test_env.stop.clone(),
            loopback_only: true,
        };
        let transport = test_env.serve(GRPC_SERVICES, ports.routes());
        let jobs = ports.job_runner().unwrap();
        let client = CallServiceClient::new(test_env.channel("call-scheduling", &transport));
        Self {
            test_env,
            school,
            chat,
            transport,
            client,
            jobs,
        }
    }

    /// Runs the jobs that are due, and those that these enqueue.
    pub(crate) async fn run_due_jobs(&self) {
        for _ in 0..2 {
            self.test_env.run_due_jobs(&self.jobs).await;
        }
    }

    /// A valid request for a call of the class today at noon, which a test can change.
    pub(crate) fn plan_request(&self, kind: pb::CallKind) -> pb::PlanCallRequest {
        pb::PlanCallRequest {
            request_id: self.test_env.request_id(),
            org_id: self.school.org.to_string(),
            unit_id: self.school.class.to_string(),
            title: "Дроби".to_owned(),
            kind: kind.into(),
            start_civil_time: "2026-09-01T12:00:00".to_owned(),
            duration: Some(prost_types::Duration {
                seconds: 45 * 60,
                nanos: 0,
            }),
            format: pb::CallFormat::Online.into(),
            ..Default::default()
        }
    }

    pub(crate) async fn plan(
        &self,
        member: MemberId,
        request: pb::PlanCallRequest,
    ) -> Result<pb::Call, Status> {
        let request = self.test_env.member_request(self.school.org, member, request);
        Ok(self
            .client
            .clone()
            .plan_call(request)
            .await?
            .into_inner()
            .call
            .unwrap())
    }

    /// Plans a lesson by the subject teacher of the class.
    pub(crate) async fn lesson(&self, change: impl FnOnce(&mut pb::PlanCallRequest)) -> pb::Call {
        let mut plan_request = self.plan_request(pb::CallKind::Lesson);
        change(&mut plan_request);
        self.plan(self.school.teacher, plan_request).await.unwrap()
    }

    pub(crate) async fn list(&self, member: MemberId) -> Vec<pb::Occurrence> {
        let request = pb::ListOccurrencesRequest {
            org_id: self.school.org.to_string(),
            window_start_time: timestamp("2026-09-01T00:00:00Z"),
            window_end_time: timestamp("2026-10-01T00:00:00Z"),
            ..Default::default()
        };
        let request = self.test_env.member_request(self.school.org, member, request);
        self.client
            .clone()
            .list_occurrences(request)
            .await
            .unwrap()
            .into_inner()
            .occurrences
    }

    pub(crate) async fn get(&self, member: MemberId, call: &pb::Call) -> pb::Call {
        let request = pb::GetCallRequest {
            org_id: self.school.org.to_string(),
            call_id: call.id.clone(),
        };
        let request = self.test_env.member_request(self.school.org, member, request);
        let got = self.client.clone().get_call(request).await.unwrap();
        got.into_inner().call.unwrap()
    }

    pub(crate) async fn join(
        &self,
        member: MemberId,
        call: &pb::Call,
    ) -> Result<pb::IssueJoinTokenResponse, Status> {
        self.join_at(member, call, call.start_time).await
    }

    pub(crate) async fn join_at(
        &self,
        member: MemberId,
        call: &pb::Call,
        start_time: Option<Timestamp>,
    ) -> Result<pb::IssueJoinTokenResponse, Status> {
        let token = self.test_env.member_token(self.school.org, member);
        self.join_with(&token, call, start_time).await
    }

    /// Joins in the session of a token.
    pub(crate) async fn join_with(
        &self,
        token: &str,
        call: &pb::Call,
        start_time: Option<Timestamp>,
    ) -> Result<pb::IssueJoinTokenResponse, Status> {
        let (org_id, call_id) = (self.school.org.to_string(), call.id.clone());
        let request = pb::IssueJoinTokenRequest {
            org_id,
            call_id,
            start_time,
        };
        let request = with_token(request, token);
        Ok(self.client.clone().issue_join_token(request).await?.into_inner())
    }

    pub(crate) async fn cancel_occurrence(
        &self,
        member: MemberId,
        call: &pb::Call,
        start_time: Option<Timestamp>,
    ) -> Result<pb::Occurrence, Status> {
        let request = pb::CancelOccurrenceRequest {
            request_id: self.test_env.request_id(),
            org_id: self.school.org.to_string(),
            call_id: call.id.clone(),
            start_time,
        };
        let request = self.test_env.member_request(self.school.org, member, request);
        Ok(self
            .client
            .clone()
            .cancel_occurrence(request)
            .await?
            .into_inner()
            .occurrence
            .unwrap())
    }

    pub(crate) async fn cancel(&self, member: MemberId, call: &pb::Call) -> Result<pb::Call, Status> {
        let request = pb::CancelCallRequest {
            request_id: self.test_env.request_id(),
            org_id: self.school.org.to_string(),
            call_id: call.id.clone(),
            etag: String::new(),
        };
        let request = self.test_env.member_request(self.school.org, member, request);
        Ok(self
            .client
            .clone()
            .cancel_call(request)
            .await?
            .into_inner()
            .call
            .unwrap())
    }
}
