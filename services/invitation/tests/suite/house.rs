//! The service under test with the membership that it calls.
use std::sync::Arc;

use parta_grpc::ServiceChannel;
use parta_ids::{FlowId, MemberId};
use parta_invitation::{Config, Ports};
use parta_proto::parta::{
    invitation::v1::{self as pb, invitation_service_client::InvitationServiceClient},
    membership::v1::Role,
};
use tonic::Status;

use crate::{
    membership::{self, Membership},
    school::School,
    world::{World, each},
};

pub const SERVICES: &[&str] = &[
    "parta.invitation.v1.InvitationService",
    "parta.invitation.v1.InvitationFeedService",
];

pub struct House {
    pub world: Arc<World>,
    pub school: School,
    pub membership: Membership,
    pub ports: Ports,
    pub pipe: parta_grpc::InProcess,
    pub client: InvitationServiceClient<ServiceChannel>,
}

/// Runs the test on each database.
pub async fn with<F, Fut>(test: F)
where
    F: Fn(House) -> Fut,
    Fut: Future<Output = ()>,
{
    let observer = parta_invitation::roster_observer;
    each(
        "invitation",
        parta_invitation::migrations,
        observer,
        async |world: Arc<World>| {
            let house = House::open(world).await;
            test(house).await;
        },
    )
    .await;
}

impl House {
    async fn open(world: Arc<World>) -> Self {
        let school = School::found(&world).await;
        let membership = Membership::new(&world.ambient);
        let pipe = world.serve(&[membership::NAME], membership.routes());
        let ports = Ports {
            config: Config {
                link_base_url: "https://school.example/join".to_owned(),
            },
            db: world.db.clone(),
            roster: world.roster.clone(),
            secrets: world.secrets.clone(),
            peers: world.peers(vec![("membership", pipe)]),
            draining: world.stop.clone(),
        };
        let pipe = world.serve(SERVICES, ports.routes());
        let client = InvitationServiceClient::new(world.outside("invitation", &pipe));
        Self {
            world,
            school,
            membership,
            ports,
            pipe,
            client,
        }
    }

    /// A request for a link that is right but for what the test changes.
    pub fn wanted(&self, role: Role) -> pb::CreateInvitationRequest {
        let staff = matches!(role, Role::Teacher | Role::Staff);
        let child = if role == Role::Parent {
            self.school.pupil.to_string()
        } else {
            String::new()
        };
        pb::CreateInvitationRequest {
            request_id: self.world.act(),
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

    pub async fn create(
        &self,
        member: MemberId,
        wanted: pb::CreateInvitationRequest,
    ) -> Result<pb::CreateInvitationResponse, Status> {
        let request = self.world.by(self.school.org, member, wanted);
        Ok(self.client.clone().create_invitation(request).await?.into_inner())
    }

    /// A link for so many pupils, made by the class teacher.
    pub async fn link(&self, max_uses: i32) -> (String, String) {
        let wanted = pb::CreateInvitationRequest {
            max_uses,
            ..self.wanted(Role::Pupil)
        };
        let made = self.create(self.school.class_teacher, wanted).await.unwrap();
        (made.invitation.unwrap().id, made.link.unwrap().link_token)
    }

    pub async fn accept(&self, flow: FlowId, token: &str) -> Result<pb::AcceptInvitationResponse, Status> {
        self.accept_as(flow, token, self.world.act()).await
    }

    pub async fn accept_as(
        &self,
        flow: FlowId,
        token: &str,
        request_id: String,
    ) -> Result<pb::AcceptInvitationResponse, Status> {
        let secret = Some(pb::accept_invitation_request::Secret::LinkToken(token.to_owned()));
        let request = self
            .world
            .joining(flow, pb::AcceptInvitationRequest { request_id, secret });
        Ok(self.client.clone().accept_invitation(request).await?.into_inner())
    }

    pub fn flow(&self) -> FlowId {
        self.world.ambient.id()
    }

    pub async fn get(&self, id: &str) -> pb::Invitation {
        let request = pb::GetInvitationRequest {
            org_id: self.school.org.to_string(),
            invitation_id: id.to_owned(),
        };
        let request = self.world.by(self.school.org, self.school.administrator, request);
        self.client
            .clone()
            .get_invitation(request)
            .await
            .unwrap()
            .into_inner()
            .invitation
            .unwrap()
    }

    pub async fn resolve(&self, token: &str) -> Result<pb::ResolveInvitationResponse, Status> {
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
