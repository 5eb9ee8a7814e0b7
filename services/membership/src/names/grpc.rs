//! `parta.membership.internal.v1.NameService`: decodes, calls the edge, encodes.
use std::collections::BTreeSet;

use parta_edge::Edge;
use parta_ids::MemberId;
use parta_proto_membership::{
    internal::v1::{self as pb, name_service_server::NameService},
    v1::Role,
};
use parta_status::field;
use tonic::{Request, Response, Status};

use super::GetNames;
use crate::context::Context;

/// The maximum number of members that one call names.
const BATCH_MAX: usize = 100;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Names {
    edge: Edge<Context>,
}

impl Names {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

#[tonic::async_trait]
impl NameService for Names {
    async fn get_names(
        &self,
        request: Request<pb::GetNamesRequest>,
    ) -> Result<Response<pb::GetNamesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            v.check(
                (1..=BATCH_MAX).contains(&r.member_ids.len()),
                "member_ids",
                format!("must have 1 to {BATCH_MAX} ids"),
            );
            let ids = r.member_ids.iter().take(BATCH_MAX).enumerate();
            let ids = ids.filter_map(|(at, text)| field::id(v, &format!("member_ids[{at}]"), text));
            let member_ids: BTreeSet<MemberId> = ids.collect();
            Some(GetNames {
                org_id: org_id?,
                member_ids,
            })
        })?;
        let members = self.edge.query(&call, &query).await?;
        let name = |member: crate::member_records::Member| pb::MemberName {
            member_id: member.id.to_string(),
            full_name: member.full_name,
            roles: member.roles.iter().map(|role| Role::from(*role).into()).collect(),
            teacher_verified: member.teacher_verified,
        };
        Ok(Response::new(pb::GetNamesResponse {
            members: members.into_iter().map(name).collect(),
        }))
    }
}
