//! Creating, reading and revoking invitations.
mod create;
mod grounds;
mod keep;
mod read;
mod restored;
mod revocation;
mod revoke;

use parta_access::{OrgScope, authorize};
use parta_ids::{InvitationId, OrgId};

pub(super) use create::{CreateInvitation, IMPORT, create_imported};
pub(crate) use grounds::stop_of;
pub(super) use keep::{Keep, KeepInvitations};
pub(super) use read::{GetInvitation, GetInvitationLink, ListInvitations, ResolveInvitation};
pub use restored::{end_revoked_again, revoke_open_links};
pub(crate) use revocation::{END_JOB, LINKS_PER_CALL, RevokedLinks};
pub(super) use revoke::{BulkRevokeInvitations, RevokeInvitation, revoke};

use super::{model::Invitation, policy, storage};
use crate::{context::Run, error::Error};

/// Loads an invitation that the caller may show, inspect and revoke. Staff who may not list invitations at
/// all do not learn which ids exist.
pub(crate) async fn managed(
    run: Run<'_>,
    org: OrgId,
    id: InvitationId,
) -> Result<(OrgScope, Invitation), Error> {
    let Run { context, tx, caller } = run;
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::list(&facts))?;
    let found = storage::find(tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
    let scope = authorize(caller, org, policy::manage(&facts, &found))?;
    Ok((scope, found))
}
