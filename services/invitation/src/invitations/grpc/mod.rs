//! Invitations in `parta.invitation.v1.InvitationService`: decodes, calls the edge, encodes.
mod convert;

use std::sync::Arc;

use parta_edge::{Edge, PageRequest};
use parta_ids::{InvitationId, OrgId};
use parta_proto::timestamp;
use parta_proto_invitation::v1::{self as pb, resolve_invitation_request::Secret};
use parta_status::field;
use tonic::{Request, Response, Status};

pub(crate) use convert::presented;

use super::{
    events::role_to_proto,
    operations::{
        CreateInvitation, GetInvitation, GetInvitationLink, Keep, KeepInvitations, ListInvitations,
        ResolveInvitation, RevokeInvitation,
    },
};
use crate::context::Context;

/// The links of an organization that a call revoked, now or before.
pub(crate) struct Revoked {
    pub(crate) org_id: OrgId,
    pub(crate) invitation_ids: Vec<InvitationId>,
}

/// The part of the server that creates, shows and revokes invitations.
#[derive(Clone)]
pub(crate) struct Invitations {
    edge: Edge<Context>,
    context: Arc<Context>,
}

impl Invitations {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        Self { edge, context }
    }

    pub(crate) async fn create(
        &self,
        request: Request<pb::CreateInvitationRequest>,
    ) -> Result<Response<pb::CreateInvitationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            Some(CreateInvitation {
                draft: convert::draft(v, r)?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CreateInvitationResponse {
            invitation: Some(convert::invitation(&done.view.shown)),
            link: Some(convert::link(&done.view.secret, &self.context.config)),
            consistency_token: done.consistency_token,
        }))
    }

    pub(crate) async fn get(
        &self,
        request: Request<pb::GetInvitationRequest>,
    ) -> Result<Response<pb::GetInvitationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let invitation_id = field::id(v, "invitation_id", &r.invitation_id);
            Some(GetInvitation {
                org_id: org_id?,
                invitation_id: invitation_id?,
            })
        })?;
        let shown = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetInvitationResponse {
            invitation: Some(convert::invitation(&shown)),
        }))
    }

    pub(crate) async fn get_link(
        &self,
        request: Request<pb::GetInvitationLinkRequest>,
    ) -> Result<Response<pb::GetInvitationLinkResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let invitation_id = field::id(v, "invitation_id", &r.invitation_id);
            Some(GetInvitationLink {
                org_id: org_id?,
                invitation_id: invitation_id?,
            })
        })?;
        let secret = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetInvitationLinkResponse {
            link: Some(convert::link(&secret, &self.context.config)),
        }))
    }

    pub(crate) async fn list(
        &self,
        request: Request<pb::ListInvitationsRequest>,
    ) -> Result<Response<pb::ListInvitationsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let filter = convert::filter(v, r);
            let key = format!("{}/{}/{}/{}/{}", r.org_id, r.unit_id, r.role, r.state, r.unused);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, key);
            Some(ListInvitations {
                org_id: org_id?,
                filter,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListInvitationsResponse {
            invitations: page.items.iter().map(convert::invitation).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    pub(crate) async fn resolve(
        &self,
        request: Request<pb::ResolveInvitationRequest>,
    ) -> Result<Response<pb::ResolveInvitationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let (token, code) = match &r.secret {
                Some(Secret::LinkToken(token)) => (Some(token.as_str()), None),
                Some(Secret::Code(code)) => (None, Some(code.as_str())),
                None => (None, None),
            };
            let secret = presented(v, &self.context.secrets, token, code);
            Some(ResolveInvitation { secret })
        })?;
        let destination = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ResolveInvitationResponse {
            org_id: destination.org_id.to_string(),
            organization_display_name: destination.organization_display_name,
            role: role_to_proto(destination.role).into(),
            unit_label: destination.unit_label,
            expire_time: Some(timestamp(destination.expire_time)),
        }))
    }

    pub(crate) async fn revoke(
        &self,
        request: Request<pb::RevokeInvitationRequest>,
    ) -> Result<(Response<pb::RevokeInvitationResponse>, Revoked), Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let invitation_id = field::id(v, "invitation_id", &r.invitation_id);
            Some(RevokeInvitation {
                org_id: org_id?,
                invitation_id: invitation_id?,
                etag: r.etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        let revoked = Revoked {
            org_id: command.org_id,
            invitation_ids: vec![command.invitation_id],
        };
        let response = pb::RevokeInvitationResponse {
            invitation: Some(convert::invitation(&done.view)),
            consistency_token: done.consistency_token,
        };
        Ok((Response::new(response), revoked))
    }

    pub(crate) async fn adopt(
        &self,
        request: Request<pb::AdoptInvitationsRequest>,
    ) -> Result<Response<pb::AdoptInvitationsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let invitation_ids = convert::invitation_ids(v, &r.invitation_ids);
            Some(KeepInvitations {
                org_id: org_id?,
                invitation_ids,
                keep: Keep::Adopt,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::AdoptInvitationsResponse {
            invitations: done.view.iter().map(convert::invitation).collect(),
            consistency_token: done.consistency_token,
        }))
    }

    pub(crate) async fn extend(
        &self,
        request: Request<pb::ExtendInvitationsRequest>,
    ) -> Result<Response<pb::ExtendInvitationsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(convert::extend)?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ExtendInvitationsResponse {
            invitations: done.view.iter().map(convert::invitation).collect(),
            consistency_token: done.consistency_token,
        }))
    }

    pub(crate) async fn bulk_revoke(
        &self,
        request: Request<pb::BulkRevokeInvitationsRequest>,
    ) -> Result<(Response<pb::BulkRevokeInvitationsResponse>, Revoked), Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(convert::bulk_revoke)?;
        let done = self.edge.mutate(&call, &command).await?;
        let found = done.view.invitations.iter().map(|shown| shown.invitation.id);
        let revoked = Revoked {
            org_id: command.org_id,
            invitation_ids: found.filter(|_| !command.dry_run).collect(),
        };
        let response = pb::BulkRevokeInvitationsResponse {
            invitations: done.view.invitations.iter().map(convert::invitation).collect(),
            more: done.view.more,
            consistency_token: done.consistency_token,
        };
        Ok((Response::new(response), revoked))
    }
}
