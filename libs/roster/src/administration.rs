use parta_ids::{MemberId, OrgId, TypedId as _, Uuid};
use parta_status::RpcError;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _, QuerySelect as _,
    sea_query::Expr,
};

use crate::{MemberContext, Role, Roster, entities::member, roster::map_db_error};

impl Roster {
    /// Returns the active administrators, the head and the deputies of the organization whose role is not
    /// suspended.
    pub async fn administration(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
    ) -> Result<Vec<MemberContext>, RpcError> {
        self.require(org)?;
        let roles = Role::mask_of([Role::Administrator, Role::Head, Role::Deputy]);
        let holders: Vec<Uuid> = member::Entity::find()
            .select_only()
            .column(member::Column::MemberId)
            .filter(member::Column::OrgId.eq(org.uuid()))
            .filter(Expr::col(member::Column::Roles).bit_and(roles).ne(0))
            .into_tuple()
            .all(conn)
            .await
            .map_err(map_db_error)?;
        let holders: Vec<MemberId> = holders.into_iter().map(MemberId::from_uuid).collect();
        let mut contexts = self.contexts_of(conn, org, &holders).await?;
        contexts.retain(MemberContext::is_administration);
        Ok(contexts)
    }
}
