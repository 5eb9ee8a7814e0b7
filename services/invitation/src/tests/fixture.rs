//! The service under test with the membership that it calls.
use std::sync::Arc;

use parta_grpc::ServiceChannel;
use parta_ids::{FlowId, MemberId};
use parta_proto_invitation::v1::{self as pb, invitation_service_client::InvitationServiceClient};
use parta_proto_membership::v1::Role;
use parta_service_testkit::{School, ServiceEnv};
use parta_testkit::TestDatabase;
use tonic::Status;

use crate::{
    Config, GRPC_SERVICES, Ports, assembly,
    tests::membership::{self, Membership},
};

pub(crate) struct Fixture {
    pub(crate) test_env: Arc<ServiceEnv>,
    pub(crate) school: School,
    pub(crate) membership: Membership,
    pub(crate) ports: Ports,
    pub(crate) pipe: parta_grpc::InMemoryTransport,
    pub(crate) client: InvitationServiceClient<ServiceChannel>,
}

impl Fixture {
    /// Starts the service on the database.
    pub(crate) async fn open(database: &TestDatabase) -> Self {
        let test_env = ServiceEnv::open(database, "invitation", crate::migrations()).await;
        let observer = assembly::roster_observer();
        let test_env = Arc::new(test_env.observed_by(observer));
        let school = School::create(&test_env).await;
        let membership = Membership::new(&test_env.env);
        let pipe = test_env.serve(&[membership::NAME], membership.routes());
        let ports = Ports {
            config: Config {
                link_base_url: "https://school.example/join".to_owned(),
            },
            db: test_env.db.clone(),
            roster: test_env.roster(),
            secrets: test_env.secrets.clone(),
            clients: test_env.clients(vec![("membership", pipe)]),
            draining: test_env.stop.clone(),
        };
        let pipe = test_env.serve(GRPC_SERVICES, ports.routes());
        let client = InvitationServiceClient::new(test_env.channel("invitation", &pipe));
        Self {
            test_env,
            school,
            membership,
            ports,
            pipe,
            client,
        }
    }

    /// A valid request for a link, which a test can change.
    pub(crate) fn wanted(&self, role: Role) -> pb::CreateInvitationRequest {
        let staff = matches!(role, Role::Teacher | Role::Staff);
        let child = if role == Role::Parent {
            self.school.pupil.to_string()
        } else {
            String::new()
        };
        pb::CreateInvitationRequest {
            request_id: self.test_env.request_id(),
            org_id: self.school.org.to_string(),
            role: role.into(),
            unit_id: if staff {
                String::new()
            } else {
                self.school.class.to_string()
            },
            child_id: child,
            recipient_label: if staff {
                "Иванова А. П.".to_owned()
            } else {
                String::new()
            },
            ..Default::default()
        }
    }

    pub(crate) async fn create(
        &self,
        member: MemberId,
        wanted: pb::CreateInvitationRequest,
    ) -> Result<pb::CreateInvitationResponse, Status> {
        let request = self.test_env.member_request(self.school.org, member, wanted);
        Ok(self.client.clone().create_invitation(request).await?.into_inner())
    }

    /// Creates a pupil link of `max_uses` uses by the class teacher and returns its id and token.
    pub(crate) async fn link(&self, max_uses: i32) -> (String, String) {
        let wanted = pb::CreateInvitationRequest {
            max_uses,
            ..self.wanted(Role::Pupil)
        };
        let made = self.create(self.school.class_teacher, wanted).await.unwrap();
        (made.invitation.unwrap().id, made.link.unwrap().link_token)
    }

    pub(crate) async fn accept(
        &self,
        flow: FlowId,
        token: &str,
    ) -> Result<pb::AcceptInvitationResponse, Status> {
        self.accept_as(flow, token, self.test_env.request_id()).await
    }

    pub(crate) async fn accept_as(
        &self,
        flow: FlowId,
        token: &str,
        request_id: String,
    ) -> Result<pb::AcceptInvitationResponse, Status> {
        let secret = Some(pb::accept_invitation_request::Secret::LinkToken(token.to_owned()));
        let request =
            self.test_env
                .joiner_request(flow, token, pb::AcceptInvitationRequest { request_id, secret });
        Ok(self.client.clone().accept_invitation(request).await?.into_inner())
    }

    pub(crate) fn flow(&self) -> FlowId {
        self.test_env.env.id()
    }

    pub(crate) async fn get(&self, id: &str) -> pb::Invitation {
        let request = pb::GetInvitationRequest {
            org_id: self.school.org.to_string(),
            invitation_id: id.to_owned(),
        };
        let request = self
            .test_env
            .member_request(self.school.org, self.school.administrator, request);
        self.client
            .clone()
            .get_invitation(request)
            .await
            .unwrap()
            .into_inner()
            .invitation
            .unwrap()
    }

    pub(crate) async fn resolve(&self, token: &str) -> Result<pb::ResolveInvitationResponse, Status> {
        let secret = Some(pb::resolve_invitation_request::Secret::LinkToken(
            token.to_owned(),
        ));
        let request = pb::ResolveInvitationRequest { secret };
        Ok(self
            .client
            .clone()
            .resolve_invitation(request)
            .await?
            .into_inner())
    }
}
