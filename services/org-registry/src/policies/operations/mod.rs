//! Previewing and changing policies, and reading their history.
mod decide;
mod list;
mod update;

use std::fmt::Write as _;

use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_ids::{OrgId, PolicyChangeId};
use parta_roster::Policies;
use sha2::{Digest as _, Sha256};

use super::{
    model::{ChangeState, PolicyChange, ValueChange},
    policy, storage,
};
use crate::{context::Context, error::Error};

pub(super) use decide::{ConfirmPolicyChange, ConfirmedChange, DropPolicyChange};
pub(super) use list::{ListPendingPolicyChanges, ListPolicyChanges};
pub(super) use update::{PreviewPolicies, UpdatePolicies, UpdatedPolicies};

/// A change with the etag by which it is confirmed, which is empty unless the change is pending.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ShownChange {
    pub(super) change: PolicyChange,
    pub(super) preview_etag: String,
}

impl ShownChange {
    /// Shows the change at this version of the policies.
    fn new(change: PolicyChange, version: i64) -> Self {
        let preview_etag = match change.state() {
            ChangeState::Pending => etag_of_change(&change, version),
            ChangeState::Applied | ChangeState::Dropped => String::new(),
        };
        Self { change, preview_etag }
    }
}

/// Returns opaque text that is the same only for the same parts.
fn etag(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // The length keeps two parts apart from one that holds both.
        digest.update(part.len().to_be_bytes());
        digest.update(part.as_bytes());
    }
    digest
        .finalize()
        .iter()
        .take(16)
        .fold(String::new(), |mut text, byte| {
            // Writing to a string never fails.
            _ = write!(text, "{byte:02x}");
            text
        })
}

/// Identifies the preview of these changes at this version of the policies.
fn etag_of_preview(org: OrgId, version: i64, values: &[ValueChange]) -> String {
    let (org, version) = (org.to_string(), version.to_string());
    let after: Vec<_> = values
        .iter()
        .map(|value| (value.path().name(), value.after.text()))
        .collect();
    let mut parts = vec!["preview", org.as_str(), version.as_str()];
    for (path, text) in &after {
        parts.extend([*path, text.as_str()]);
    }
    etag(&parts)
}

/// Identifies a pending change at this version of the policies.
fn etag_of_change(change: &PolicyChange, version: i64) -> String {
    etag(&["change", &change.id.to_string(), &version.to_string()])
}

async fn load(tx: &Tx, scope: &OrgScope, id: PolicyChangeId) -> Result<PolicyChange, Error> {
    let change = storage::find(tx, scope, id).await?;
    change.ok_or_else(|| Error::unknown_change(id))
}

/// Whether a member of the organization, which has these policies, can confirm the change.
async fn has_second_person(
    context: &Context,
    tx: &Tx,
    change: &PolicyChange,
    before: &Policies,
) -> Result<bool, Error> {
    let after = change.applied_to(before);
    let administration = context.roster.administration(tx, change.org_id).await?;
    let confirms = |facts| policy::is_second_person(facts, change.author_id, &after);
    Ok(administration.iter().any(confirms))
}

async fn audit(tx: &Tx, caller: &Caller, change: &PolicyChange) -> Result<(), Error> {
    Ok(
        parta_audit::record_within(tx, caller, change.org_id, format!("policy-changes/{}", change.id))
            .await?,
    )
}
