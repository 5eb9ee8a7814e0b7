//! The list of the facts that a change of roles ends, shown before the change (F2).
use std::{collections::BTreeSet, fmt::Write as _};

use parta_access::OrgScope;
use parta_database::Tx;
use parta_edge::{Query, Read};
use parta_ids::{MemberId, OrgId};
use parta_roster::{Role, State};
use sha2::{Digest as _, Sha256};

use super::{model::EndedGrounds, policy, steps::decide};
use crate::{
    acting_heads, assignments,
    context::{Context, Run},
    duties, enrollments,
    error::Error,
    guardianships::{self, Side},
    member_records::{Member, storage},
};

/// The roles that a member gets and loses by a change, and what ends with the lost ones.
#[derive(Debug, Clone)]
pub(crate) struct Preview {
    pub(crate) added: BTreeSet<Role>,
    pub(crate) lost: BTreeSet<Role>,
    pub(crate) ending: EndedGrounds,
    /// The same text as long as the change does the same.
    pub(crate) etag: String,
}

/// Returns what the change of the member to these roles would do.
pub(super) async fn preview(
    tx: &Tx,
    scope: &OrgScope,
    member: &Member,
    roles: &BTreeSet<Role>,
) -> Result<Preview, Error> {
    let lost: BTreeSet<Role> = member.roles.difference(roles).copied().collect();
    let ending = ending(tx, scope, member, roles, &lost).await?;
    Ok(Preview {
        added: roles.difference(&member.roles).copied().collect(),
        etag: etag(member, roles, &ending),
        lost,
        ending,
    })
}

async fn ending(
    tx: &Tx,
    scope: &OrgScope,
    member: &Member,
    roles: &BTreeSet<Role>,
    lost: &BTreeSet<Role>,
) -> Result<EndedGrounds, Error> {
    let mut ending = EndedGrounds::default();
    let id = member.id;
    if lost.contains(&Role::Teacher) {
        ending.badge = member.teacher_verified;
        ending.assignments = assignments::lasting_of(tx, scope, id).await?;
    }
    if lost.contains(&Role::Pupil) {
        ending.enrollments = enrollments::lasting_of(tx, scope, id).await?;
        let as_child = guardianships::lasting_of(tx, scope, id, Side::Child).await?;
        ending.guardianships.extend(as_child);
    }
    if lost.contains(&Role::Parent) {
        let as_guardian = guardianships::lasting_of(tx, scope, id, Side::Guardian).await?;
        ending.guardianships.extend(as_guardian);
    }
    if lost.contains(&Role::Deputy) {
        ending.acting_heads = acting_heads::lasting_of(tx, scope, id).await?;
    }
    if !roles.iter().any(|role| role.is_staff()) {
        ending.duties = duties::lasting_of(tx, scope, id).await?;
    }
    Ok(ending)
}

/// Returns opaque text that is the same only for the same change.
fn etag(member: &Member, roles: &BTreeSet<Role>, ending: &EndedGrounds) -> String {
    let mut text = format!(
        "{} {} {} {} {}",
        member.org_id,
        member.id,
        Role::mask_of(member.roles.iter().copied()),
        Role::mask_of(roles.iter().copied()),
        ending.badge,
    );
    let EndedGrounds {
        badge: _,
        assignments,
        duties,
        enrollments,
        guardianships,
        acting_heads,
    } = ending;
    // The ids have prefixes, so that two kinds are never mixed up. Writing to a string never fails.
    _ = write!(
        text,
        " {assignments:?} {duties:?} {enrollments:?} {guardianships:?} {acting_heads:?}"
    );
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns what a change of roles would end, without making it.
#[derive(Debug)]
pub(crate) struct PreviewRoleChange {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) roles: BTreeSet<Role>,
}

impl Query for PreviewRoleChange {
    type Context = Context;
    type View = Preview;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Preview>, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        let scope = decide(run, &facts, (self.org_id, self.member_id)).await?;
        let member = storage::find(tx, &scope, self.member_id).await?;
        let member = member.ok_or_else(|| Error::unknown("member", self.member_id))?;
        if member.state == State::Left {
            return Err(Error::member_left());
        }
        let preview = preview(tx, &scope, &member, &self.roles).await?;
        policy::change(&facts, self.member_id, &preview.added, &preview.lost)?;
        let object = format!("members/{}", self.member_id);
        Ok(Read::audited(preview, self.org_id, &object))
    }
}
