use parta_access::{Caller, Principal};
use parta_ids::{ChatId, TypedId};
use parta_roster::{Organization, UnitKind};
use parta_status::not_found;

use super::MessageService;
use crate::{
    entries::{Rule, find_chat_by_key, has_other_participants},
    error::Error,
    messages::{
        model::{Audience, Message},
        writer::Stored,
    },
};

/// Returns the rules of the chats in which an announcement for the audience stands (F25).
fn rules_of(audience: &Audience, kind: UnitKind, organization: &Organization) -> Vec<Rule> {
    let Audience {
        unit_id,
        pupils,
        parents,
    } = *audience;
    let is_for_staff = !pupils && !parents;
    let is_closed = !organization.policies.school_channel_open_to_families;
    let rules = match kind {
        UnitKind::Class | UnitKind::Group => vec![
            (pupils, Rule::Pupils(unit_id)),
            (parents, Rule::Parents(unit_id)),
            (is_for_staff, Rule::Teachers(unit_id)),
        ],
        UnitKind::StaffRoom | UnitKind::Department => vec![
            (is_for_staff, Rule::StaffRoom),
            (!is_for_staff, Rule::School),
            (pupils && is_closed, Rule::PupilsChannel),
            (parents && is_closed, Rule::ParentsChannel),
        ],
        UnitKind::Unknown => Vec::new(),
    };
    let addressed = rules.into_iter().filter(|(is_addressed, _)| *is_addressed);
    addressed.map(|(_, rule)| rule).collect()
}

impl MessageService {
    /// Stores a message in each chat of the audience in which the person may write whose token a service
    /// presents. The entries name the service. A repetition stores nothing twice. Fails with the first
    /// refusal if no chat accepts the message.
    pub(crate) async fn announce(
        &self,
        caller: &Caller,
        announcement: Message<Audience>,
    ) -> Result<Vec<(ChatId, Stored)>, Error> {
        let (org, audience) = (announcement.org_id, announcement.to);
        let conn = self.context.db.conn();
        let (scope, member) = self.context.reader(conn, caller, org).await?;
        let unit = self.context.roster.unit(conn, org, audience.unit_id).await?;
        let organization = self.context.roster.organization(conn, org).await?;
        let (Some(unit), Some(organization)) = (unit, organization) else {
            return Err(not_found("unit", audience.unit_id).into());
        };
        let mut chats = Vec::new();
        for rule in rules_of(&audience, unit.kind, &organization) {
            let found = find_chat_by_key(conn, &scope, &rule.key()).await?;
            let chat = found
                .map(|row| ChatId::from_uuid(row.chat_id))
                .ok_or_else(|| not_found("unit", audience.unit_id))?;
            if has_other_participants(conn, &scope, chat, member).await? {
                chats.push(chat);
            }
        }
        let service = match &caller.principal {
            Principal::Service { name } => Some(name.clone()),
            _ => None,
        };
        let (mut posted, mut refusal) = (Vec::new(), None);
        for chat in chats {
            let message = announcement.clone().to(chat);
            let service = service.clone();
            match self.offer(caller, &scope, member, service, message).await? {
                Ok(stored) => posted.push((chat, stored)),
                // The caller belongs to the organization and may know that its units have chats.
                Err(Error::UnknownChat(_)) => refusal = refusal.or_else(|| Some(Error::may_not_post())),
                Err(refused) => refusal = refusal.or(Some(refused)),
            }
        }
        match refusal {
            _ if !posted.is_empty() => Ok(posted),
            Some(refusal) => Err(refusal),
            None => Err(Error::reaches_nobody(audience.unit_id)),
        }
    }
}
