//! What chat tells others, and how its audiences follow the roster: recomputed by set difference, in the transaction in
//! which the roster's change is applied.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use parta_access::{OrgScope, Verifier};
use parta_feed::{HandleError, append_event};
use parta_ids::{ChatId, MemberId, OrgId, TypedId, UnitId};
use parta_proto::parta::chat::v1::{self as pb, chat_event::Payload};
use parta_roster::{Change, MemberContext, Roster, RosterObserver, UnitKind};
use parta_status::RpcError;
use parta_storage::{Db, StorageError, Tx};

use crate::{
    audience::policy::{Diff, Seat, derived_rules, difference, seat},
    entries::{
        model::{ChatKind, Rule},
        storage::{self, EntryRow, Kind, chat},
    },
    live::Live,
    talk_policy::{may_talk, must_leave},
};

/// Keeps the audiences. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AudienceUpdater {
    live: Live,
    verifier: Arc<Verifier>,
    // The roster is made together with the consumers that call this.
    roster: Arc<OnceLock<Roster>>,
}

/// Carries out a change of participants in one chat, tells of it and returns what was written.
pub(crate) async fn change(
    tx: &Tx,
    live: &Live,
    scope: &OrgScope,
    chat: ChatId,
    diff: &Diff,
) -> Result<Vec<EntryRow>, StorageError> {
    let entries = storage::apply(tx, scope, chat, diff).await?;
    for entry in &entries {
        let (chat_id, seq) = (chat.to_string(), entry.seq);
        let payload = match entry.kind {
            Kind::Message { .. } => continue,
            Kind::Joining(member) => Payload::ParticipantJoined(pb::ParticipantJoined {
                chat_id,
                member_id: member.to_string(),
            }),
            Kind::Leaving(member) => Payload::ParticipantLeft(pb::ParticipantLeft {
                chat_id,
                member_id: member.to_string(),
                left_seq: seq,
            }),
        };
        append_event(tx, scope.org_id(), payload);
    }
    live.stage(tx, entries.clone());
    Ok(entries)
}

/// Makes a chat without people and tells of it.
pub(crate) async fn create(
    tx: &Tx,
    scope: &OrgScope,
    kind: ChatKind,
    unit: Option<UnitId>,
    key: Option<String>,
    label: &str,
) -> Result<ChatId, StorageError> {
    let chat = storage::insert_chat(tx, scope, kind, unit, key, label).await?;
    let unit_id = unit.map(|u| u.to_string()).unwrap_or_default();
    append_event(
        tx,
        scope.org_id(),
        Payload::ChatCreated(pb::ChatCreated {
            chat_id: chat.to_string(),
            unit_id,
        }),
    );
    Ok(chat)
}

/// The present state as events, for the snapshot of the feed.
pub(crate) async fn snapshot(tx: Tx, only: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, RpcError> {
    let mut events = Vec::new();
    for org in storage::list_organizations(&tx, only).await? {
        let scope = OrgScope::for_consumer("chat.snapshot", org);
        for row in storage::list_chats(&tx, &scope).await? {
            let chat = ChatId::from_uuid(row.chat_id);
            let unit_id = row
                .unit_id
                .map(|u| UnitId::from_uuid(u).to_string())
                .unwrap_or_default();
            events.push((
                org,
                Payload::ChatCreated(pb::ChatCreated {
                    chat_id: chat.to_string(),
                    unit_id,
                }),
            ));
            if row.archive_time.is_some() {
                events.push((
                    org,
                    Payload::ChatArchived(pb::ChatArchived {
                        chat_id: chat.to_string(),
                    }),
                ));
            }
            for member in storage::seats(&tx, &scope, chat).await?.into_keys() {
                let joined = pb::ParticipantJoined {
                    chat_id: chat.to_string(),
                    member_id: member.to_string(),
                };
                events.push((org, Payload::ParticipantJoined(joined)));
            }
        }
    }
    Ok(events)
}

impl AudienceUpdater {
    /// AudienceUpdater without a roster; give it one before the first change.
    pub(crate) fn new(live: Live, verifier: Arc<Verifier>) -> Self {
        Self {
            live,
            verifier,
            roster: Arc::default(),
        }
    }

    /// Gives the roster to ask.
    pub(crate) fn ask(&self, roster: Roster) {
        _ = self.roster.set(roster);
    }

    fn roster(&self) -> Result<&Roster, HandleError> {
        self.roster
            .get()
            .ok_or_else(|| HandleError::Failed("audiences without a roster".into()))
    }

    async fn ensure(&self, tx: &Tx, scope: &OrgScope, rule: Rule, label: &str) -> Result<(), HandleError> {
        if storage::find_chat_by_key(tx, scope, &rule.key()).await?.is_none() {
            create(tx, scope, rule.kind(), rule.unit(), Some(rule.key()), label).await?;
        }
        Ok(())
    }

    async fn ensure_organization(&self, tx: &Tx, scope: &OrgScope) -> Result<(), HandleError> {
        self.ensure(tx, scope, Rule::School, "").await?;
        self.ensure(tx, scope, Rule::Staff, "").await
    }

    /// Makes the chats of a unit that has pupils, gives them its label, and closes those of an archived one.
    async fn ensure_unit(&self, tx: &Tx, scope: &OrgScope, unit_id: UnitId) -> Result<(), HandleError> {
        let Some(unit) = self.roster()?.unit(tx, scope.org_id(), unit_id).await? else {
            return Ok(());
        };
        if !matches!(unit.kind, UnitKind::Class | UnitKind::Group) {
            return Ok(());
        }
        for rule in Rule::of_unit(unit_id) {
            self.ensure(tx, scope, rule, &unit.label).await?;
        }
        storage::relabel_unit(tx, scope, unit_id, &unit.label).await?;
        for row in storage::list_of_unit(tx, scope, unit_id).await? {
            if unit.archived && row.archive_time.is_none() {
                let chat_id = ChatId::from_uuid(row.chat_id).to_string();
                storage::archive_chat(tx, row).await?;
                append_event(
                    tx,
                    scope.org_id(),
                    Payload::ChatArchived(pb::ChatArchived { chat_id }),
                );
            }
        }
        Ok(())
    }

    async fn recompute_everybody(&self, tx: &Tx, scope: &OrgScope) -> Result<(), HandleError> {
        let mut members: BTreeSet<MemberId> = storage::list_members(tx, scope).await?.into_iter().collect();
        members.extend(
            self.roster()?
                .all_members(tx, scope.org_id())
                .await?
                .into_iter()
                .map(|f| f.member_id),
        );
        self.recompute(tx, scope, &members.into_iter().collect::<Vec<_>>())
            .await
    }

    /// Puts these members into the chats where they belong and takes them out of the others. Chats are taken in the
    /// order of their ids, as the writer takes their heads.
    async fn recompute(&self, tx: &Tx, scope: &OrgScope, members: &[MemberId]) -> Result<(), HandleError> {
        let facts = self.roster()?.contexts_of(tx, scope.org_id(), members).await?;
        let keys: BTreeSet<String> = facts.iter().flat_map(derived_rules).map(Rule::key).collect();
        let mut chats = storage::list_chats_concerning(tx, scope, members, keys).await?;
        chats.sort_by_key(|row| row.chat_id);
        let asked: BTreeSet<MemberId> = members.iter().copied().collect();
        for row in chats {
            let chat = ChatId::from_uuid(row.chat_id);
            let diff = match storage::rule_of(&row)? {
                Some(rule) => {
                    let present = storage::seats_among(tx, scope, chat, &asked).await?;
                    let wanted = facts
                        .iter()
                        .filter_map(|f| Some((f.member_id, seat(rule, f)?)))
                        .collect();
                    difference(&present, &wanted)
                }
                None => self.named(tx, scope, &row).await?,
            };
            if !diff.is_empty() {
                change(tx, &self.live, scope, chat, &diff).await?;
            }
        }
        Ok(())
    }

    /// What a chat that is not derived loses by what its people are now.
    async fn named(&self, tx: &Tx, scope: &OrgScope, row: &chat::Model) -> Result<Diff, HandleError> {
        let present = storage::seats(tx, scope, ChatId::from_uuid(row.chat_id)).await?;
        let ids: Vec<_> = present.keys().copied().collect();
        let facts = self.roster()?.contexts_of(tx, scope.org_id(), &ids).await?;
        let gone = must_leave(&facts);
        let known: BTreeMap<MemberId, &MemberContext> = facts.iter().map(|f| (f.member_id, f)).collect();
        let wanted = if storage::kind_of(row)? == ChatKind::Direct {
            let may_post = matches!(facts.as_slice(), [one, other] if may_talk(one, other));
            let stays = |m: &MemberId| known.get(m).is_some_and(|f| f.is_active());
            present
                .keys()
                .filter(|m| stays(m))
                .map(|m| (*m, Seat { may_post }))
                .collect()
        } else {
            let stays = |m: &MemberId| known.contains_key(m) && !gone.contains(m);
            present
                .iter()
                .filter(|(m, _)| stays(m))
                .map(|(m, s)| (*m, *s))
                .collect()
        };
        Ok(difference(&present, &wanted))
    }
}

/// Lets one transaction at a time decide by the roster of an organization and change who is in its chats. Without it
/// two consumers, or a consumer and a call, could each overlook what the other is about to commit. Take it before
/// reading. `alone` is for whoever changes the roster. On SQLite every writer is alone.
pub(crate) async fn lock_roster(tx: &Tx, org: OrgId, alone: bool) -> Result<(), StorageError> {
    let db: &Db = tx.db();
    if db.is_postgres() {
        storage::lock_organization(tx, org, alone).await
    } else {
        Ok(())
    }
}

#[async_trait]
impl RosterObserver for AudienceUpdater {
    async fn changed(&self, tx: &Tx, org: OrgId, change: &Change) -> Result<(), HandleError> {
        let scope = &OrgScope::for_consumer("chat.roster", org);
        lock_roster(tx, org, true).await?;
        match change {
            Change::OrganizationCreated => {
                self.ensure_organization(tx, scope).await?;
                self.recompute_everybody(tx, scope).await
            }
            Change::OrganizationChanged => self.recompute_everybody(tx, scope).await,
            Change::UnitCreated { unit_id, .. } => {
                self.ensure_unit(tx, scope, *unit_id).await?;
                let members = self.roster()?.members_of_unit(tx, org, *unit_id).await?;
                self.recompute(tx, scope, &members).await
            }
            Change::UnitRenamed(unit_id) | Change::UnitArchived(unit_id) => {
                self.ensure_unit(tx, scope, *unit_id).await
            }
            Change::Member(member) => self.recompute(tx, scope, &[*member]).await,
            Change::Resynced => {
                self.ensure_organization(tx, scope).await?;
                for unit in self.roster()?.units(tx, org).await? {
                    self.ensure_unit(tx, scope, unit.unit_id).await?;
                }
                self.recompute_everybody(tx, scope).await
            }
            // Before this commit already: it is a committed fact of membership.
            Change::SessionRevoked(session) => {
                self.verifier.revoke_session(*session);
                Ok(())
            }
            Change::ServiceAccountRevoked(id) => {
                self.verifier.revoke_service_account(*id);
                Ok(())
            }
            Change::RosterImportStaged(_) => Ok(()),
        }
    }
}
