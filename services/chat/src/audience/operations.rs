use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use chrono_tz::Tz;
use parta_access::OrgScope;
use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{ChatId, MemberId, TypedId, UnitId};
use parta_roster::{MemberContext, Roster, UnitKind};
use parta_status::RpcError;

use super::policy::{
    Calendar, NamedAudience, beginning, derived_rules, named_audience, participant_rights_by, with_leader,
};
use crate::{
    entries::{
        self, Beginning, ChatKind, EntrySink, ParticipantDiff, ParticipantRights, Responsibility, Rule,
        apply_diffs, chat, create_chat, difference, find_chat_by_key, kind_of, list_chats_concerning,
        list_chats_without_responsible, list_members, participants_among, responsibility_of, rule_of,
        update_chats_of_unit,
    },
    talk_policy::may_talk,
};

/// Updates the participants of all chats when the roster changes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AudienceUpdater {
    pub(super) sink: Arc<dyn EntrySink>,
    // The roster is created together with the consumers that call this.
    roster: Arc<OnceLock<Roster>>,
}

impl AudienceUpdater {
    /// Creates an updater without a roster. [`AudienceUpdater::set_roster`] must be called before the first
    /// change.
    pub(crate) fn new(sink: Arc<dyn EntrySink>) -> Self {
        Self {
            sink,
            roster: Arc::default(),
        }
    }

    pub(crate) fn set_roster(&self, roster: Roster) {
        _ = self.roster.set(roster);
    }

    pub(super) fn roster(&self) -> Result<&Roster, HandleError> {
        self.roster
            .get()
            .ok_or_else(|| HandleError::Failed("audiences without a roster".into()))
    }

    async fn ensure(&self, tx: &Tx, scope: &OrgScope, rule: Rule, label: &str) -> Result<(), HandleError> {
        if find_chat_by_key(tx, scope, &rule.key()).await?.is_none() {
            create_chat(tx, scope, rule.kind(), rule.unit(), Some(rule.key()), label).await?;
        }
        Ok(())
    }

    /// Creates the chats of the organization that do not exist.
    pub(super) async fn ensure_organization(&self, tx: &Tx, scope: &OrgScope) -> Result<(), HandleError> {
        for rule in Rule::OF_ORGANIZATION {
            self.ensure(tx, scope, rule, "").await?;
        }
        Ok(())
    }

    /// Creates the chats of a unit that has pupils, updates their label and archives those of an archived
    /// unit.
    pub(super) async fn ensure_unit(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        unit_id: UnitId,
    ) -> Result<(), HandleError> {
        let Some(unit) = self.roster()?.unit(tx, scope.org_id(), unit_id).await? else {
            return Ok(());
        };
        if !matches!(unit.kind, UnitKind::Class | UnitKind::Group) {
            return Ok(());
        }
        for rule in Rule::of_unit(unit_id) {
            self.ensure(tx, scope, rule, &unit.label).await?;
        }
        update_chats_of_unit(tx, scope, &unit).await?;
        Ok(())
    }

    /// An organization that the other feed has not brought yet has the time zone UTC.
    async fn calendar(&self, tx: &Tx, scope: &OrgScope) -> Result<Calendar, HandleError> {
        let organization = self.roster()?.organization(tx, scope.org_id()).await?;
        let zone = organization.and_then(|found| found.time_zone.parse().ok());
        Ok(Calendar {
            now: tx.now(),
            zone: zone.unwrap_or(Tz::UTC),
        })
    }

    /// Recomputes every chat of the organization.
    pub(super) async fn recompute_all(&self, tx: &Tx, scope: &OrgScope) -> Result<(), HandleError> {
        let mut members: BTreeSet<MemberId> = list_members(tx, scope).await?.into_iter().collect();
        let known = self.roster()?.all_members(tx, scope.org_id()).await?;
        members.extend(known.into_iter().map(|facts| facts.member_id));
        self.recompute(tx, scope, &members.into_iter().collect::<Vec<_>>())
            .await
    }

    /// Adds these members to the chats to which they belong and removes them from the others. The differences
    /// are computed first; then one statement locks the chats that change, in the order of their keys.
    pub(super) async fn recompute(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        members: &[MemberId],
    ) -> Result<(), HandleError> {
        let facts = self.roster()?.contexts_of(tx, scope.org_id(), members).await?;
        let calendar = self.calendar(tx, scope).await?;
        let keys: BTreeSet<String> = facts.iter().flat_map(derived_rules).map(Rule::key).collect();
        let mut chats = list_chats_concerning(tx, scope, members, keys).await?;
        // The new leader of a unit takes over the chats of which the unit was the ground.
        let led = facts.iter().flat_map(|facts| &facts.class_teacher_of).copied();
        let known: BTreeSet<_> = chats.iter().map(|row| row.chat_id).collect();
        let waiting = list_chats_without_responsible(tx, scope, &led.collect()).await?;
        chats.extend(waiting.into_iter().filter(|row| !known.contains(&row.chat_id)));
        let mut diffs = BTreeMap::new();
        let concerned: BTreeSet<MemberId> = members.iter().copied().collect();
        for row in chats {
            let chat = ChatId::from_uuid(row.chat_id);
            let diff = match rule_of(&row)? {
                Some(rule) => {
                    let present = participants_among(tx, scope, chat, &concerned).await?;
                    let wanted = facts.iter().filter_map(|f| {
                        let rights = participant_rights_by(rule, f, row.archive_time)?;
                        let had = present.get(&f.member_id).map(|had| had.beginning);
                        Some((f.member_id, rights.since(beginning(rule, f, calendar, had))))
                    });
                    let wanted = wanted.collect();
                    difference(&present, &wanted)
                }
                None => self.diff_of_named(tx, scope, &row).await?,
            };
            if !diff.is_empty() {
                diffs.insert(chat, (kind_of(&row)?, diff));
            }
        }
        if !diffs.is_empty() {
            let diffs = diffs
                .iter()
                .map(|(chat, (kind, diff))| (*chat, (*kind, diff)))
                .collect();
            apply_diffs(tx, &*self.sink, scope, &diffs).await?;
        }
        Ok(())
    }

    /// The participants of a custom or personal chat who may no longer participate or write.
    async fn diff_of_named(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        row: &chat::Model,
    ) -> Result<ParticipantDiff, HandleError> {
        let present = entries::participants(tx, scope, ChatId::from_uuid(row.chat_id)).await?;
        let ids: Vec<_> = present.keys().copied().collect();
        let facts = self.roster()?.contexts_of(tx, scope.org_id(), &ids).await?;
        if kind_of(row)? == ChatKind::Direct {
            let may_post = matches!(facts.as_slice(), [one, other] if may_talk(one, other));
            let wanted = facts
                .iter()
                .filter(|f| f.is_active() || f.is_suspended())
                .map(|f| {
                    (
                        f.member_id,
                        ParticipantRights::new(f, may_post).since(Beginning::WHOLE),
                    )
                })
                .collect();
            return Ok(difference(&present, &wanted));
        }
        let had = responsibility_of(row);
        let audience = decide_named(self.roster()?, tx, scope, &facts, had, &[]).await?;
        let mut diff = difference(&present, &audience.participants);
        diff.responsibility = Some(audience.responsibility).filter(|new| *new != had);
        Ok(diff)
    }
}

/// Decides who of these people are in a named chat, and who is responsible for it: the present one, then the
/// deputy, then the leader of the unit that is the ground, who joins and is none of `removed`, else nobody
/// (F14).
pub(crate) async fn decide_named(
    roster: &Roster,
    tx: &Tx,
    scope: &OrgScope,
    people: &[MemberContext],
    present: Responsibility,
    removed: &[MemberId],
) -> Result<NamedAudience, RpcError> {
    let audience = named_audience(people, present);
    let Some(unit) = present
        .unit
        .filter(|_| !audience.is_led && !audience.participants.is_empty())
    else {
        return Ok(audience);
    };
    let org = scope.org_id();
    let of_unit = roster.members_of_unit(tx, org, unit).await?;
    let leads = |facts: &MemberContext| {
        facts.is_cleared() && facts.is_class_teacher_of(unit) && !removed.contains(&facts.member_id)
    };
    let mut leaders = roster.contexts_of(tx, org, &of_unit).await?;
    leaders.retain(leads);
    // One who is in the chat comes first.
    leaders.sort_by_key(|facts| !audience.participants.contains_key(&facts.member_id));
    let taken_over = leaders
        .iter()
        .find_map(|leader| with_leader(people, leader, present));
    Ok(taken_over.unwrap_or(audience))
}
