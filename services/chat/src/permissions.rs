//! The authorization table of the service, computed by its policy (`docs/permissions.md`).
use parta_access::{Permission, PrincipalKind};
use parta_roster::MemberContext;

use crate::{
    audience::policy::seat,
    chats::policy,
    entries::model::{ChatKind, Rule},
};

type Allowed = fn(PrincipalKind) -> bool;

/// One row for each RPC and kind of principal. What is asked of a chat is asked of the pupils' chat of the sample
/// class; «Сотрудники» for those whom the class is closed to.
pub fn permissions() -> Vec<Permission> {
    let rules: [(&'static str, Allowed); 14] = [
        ("parta.chat.v1.ChatService/CreateChat", names_people),
        ("parta.chat.v1.ChatService/CreateDirectChat", takes_part),
        ("parta.chat.v1.ChatService/GetChat", takes_part),
        ("parta.chat.v1.ChatService/ListChats", takes_part),
        ("parta.chat.v1.ChatService/AddParticipants", names_people),
        ("parta.chat.v1.ChatService/RemoveParticipants", |k| {
            MemberContext::sample(k).is_some_and(|f| policy::remove(&f, true).is_allowed())
        }),
        ("parta.chat.v1.ChatService/ListParticipants", |k| {
            MemberContext::sample(k)
                .is_some_and(|f| policy::list_participants(&f, ChatKind::ClassPupils).is_allowed())
        }),
        ("parta.chat.v1.MessageService/SendMessage", writes),
        ("parta.chat.v1.MessageService/ListEntries", takes_part),
        ("parta.chat.v1.MessageService/MarkRead", takes_part),
        ("parta.chat.v1.LiveService/SubscribeChats", takes_part),
        // A service calls it with a person's token, and then the person's rights decide; alone it may not.
        (
            "parta.chat.internal.v1.AnnouncementService/PostAnnouncement",
            |_| false,
        ),
        ("parta.chat.v1.ChatFeedService/Watch", follows),
        ("parta.chat.v1.ChatFeedService/Snapshot", follows),
    ];
    let mut rows = Vec::with_capacity(rules.len() * PrincipalKind::ALL.len());
    for (rpc, own) in rules {
        for kind in PrincipalKind::ALL {
            let own = own(kind);
            // Services see every organization; nothing else crosses the border.
            rows.push(Permission {
                rpc,
                kind,
                own,
                foreign: own && kind == PrincipalKind::Service,
            });
        }
    }
    rows
}

fn takes_part(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|f| policy::take_part(f.state).is_allowed())
}

fn names_people(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|f| policy::name_people(&f).is_allowed())
}

/// Whether the roster gives it a seat to write from in any chat.
fn writes(kind: PrincipalKind) -> bool {
    let unit = MemberContext::sample_unit();
    let rules = Rule::of_unit(unit).into_iter().chain([Rule::School, Rule::Staff]);
    MemberContext::sample(kind).is_some_and(|f| {
        rules
            .into_iter()
            .any(|rule| seat(rule, &f).is_some_and(|s| s.may_post))
    })
}

fn follows(kind: PrincipalKind) -> bool {
    matches!(kind, PrincipalKind::Service | PrincipalKind::ServiceAccount)
}
