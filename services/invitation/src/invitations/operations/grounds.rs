//! The grounds of links: read whenever a link is resolved, accepted or shown (F8).
use std::collections::{BTreeMap, BTreeSet};

use parta_database::Tx;
use parta_ids::{MemberId, UnitId};
use parta_roster::{MemberContext, Role, State as MemberState};

use super::super::{
    model::{Invitation, Shown, State, Stop},
    policy::{self, Grounds},
};
use crate::{context::Context, error::Error};

/// The facts about the members and units that some invitations of one organization name.
struct LoadedGrounds {
    members: BTreeMap<MemberId, MemberContext>,
    /// The units that are not archived.
    living: BTreeSet<UnitId>,
}

impl LoadedGrounds {
    async fn load(context: &Context, tx: &Tx, invitations: &[Invitation]) -> Result<Self, Error> {
        let mut facts = Self {
            members: BTreeMap::new(),
            living: BTreeSet::new(),
        };
        let Some(org) = invitations.first().map(|invitation| invitation.draft.org_id) else {
            return Ok(facts);
        };
        let named = |of: &Invitation| [of.draft.claim_member_id, of.draft.child_id, of.issuer_id];
        let ids: BTreeSet<MemberId> = invitations.iter().flat_map(named).flatten().collect();
        let ids: Vec<MemberId> = ids.into_iter().collect();
        context.roster.require(org)?;
        let members = context.roster.contexts_of(tx, org, &ids).await?;
        facts.members = members
            .into_iter()
            .map(|facts| (facts.member_id, facts))
            .collect();
        let units: BTreeSet<UnitId> = invitations.iter().filter_map(|of| of.draft.unit_id).collect();
        for unit in units {
            let known = context.roster.unit(tx, org, unit).await?;
            if known.is_some_and(|unit| !unit.archived) {
                facts.living.insert(unit);
            }
        }
        Ok(facts)
    }

    /// Returns the reason why the link does not work although it is active.
    fn stop(&self, invitation: &Invitation) -> Option<Stop> {
        let draft = &invitation.draft;
        let member = |id: Option<MemberId>| id.and_then(|id| self.members.get(&id));
        // The record and the child are the same in every unit.
        let expected = |record: &MemberContext| policy::is_expected(record, draft, None);
        let present =
            |child: &MemberContext| child.state != MemberState::Left && child.roles.contains(&Role::Pupil);
        let grounds = Grounds {
            unit_alive: draft.unit_id.is_none_or(|unit| self.living.contains(&unit)),
            record_expected: draft.claim_member_id.is_none()
                || member(draft.claim_member_id).is_some_and(expected),
            child_present: draft.child_id.is_none() || member(draft.child_id).is_some_and(present),
            issuer: member(invitation.issuer_id).cloned(),
        };
        policy::stop(invitation, &grounds)
    }
}

/// Returns the reason why an active link does not work at this moment; `None` if it does.
pub(crate) async fn stop_of(
    context: &Context,
    tx: &Tx,
    invitation: &Invitation,
) -> Result<Option<Stop>, Error> {
    let facts = LoadedGrounds::load(context, tx, std::slice::from_ref(invitation)).await?;
    Ok(facts.stop(invitation))
}

/// Invitations of one organization with their states at this moment.
pub(crate) async fn show_all(
    context: &Context,
    tx: &Tx,
    invitations: Vec<Invitation>,
) -> Result<Vec<Shown>, Error> {
    let facts = LoadedGrounds::load(context, tx, &invitations).await?;
    let show = |invitation: Invitation| {
        let state = invitation.state(tx.now());
        Shown {
            stop: (state == State::Active)
                .then(|| facts.stop(&invitation))
                .flatten(),
            state,
            invitation,
        }
    };
    Ok(invitations.into_iter().map(show).collect())
}

/// One invitation with its state at this moment.
pub(crate) async fn show(context: &Context, tx: &Tx, invitation: Invitation) -> Result<Shown, Error> {
    let state = invitation.state(tx.now());
    let stop = match state {
        State::Active => stop_of(context, tx, &invitation).await?,
        _ => None,
    };
    Ok(Shown {
        invitation,
        state,
        stop,
    })
}
