//! The rights to create, change and list chats: pure functions over the facts of the roster. Whether a member
//! participates in a chat and may write in it is a row that follows the roster.
use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_roster::MemberContext;

use crate::entries::ChatKind;

/// Whether the caller may create a custom chat.
pub(crate) fn name_people(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_active() && facts.is_staff(),
        "Only staff may choose the participants of a chat.",
    )
}

/// Whether the caller may choose the participants of a custom chat and who is responsible for it: the
/// responsible member, and the administration (F14).
pub(crate) fn choose_people(facts: &MemberContext, is_responsible: bool) -> Decision {
    Decision::allow_if(
        facts.is_administration() || (facts.is_staff() && is_responsible),
        "Only the responsible member of the staff or the administration may choose the participants of a chat.",
    )
}

/// Whether the caller may remove participants from a custom chat: everybody may leave it.
pub(crate) fn remove(facts: &MemberContext, is_responsible: bool, only_oneself: bool) -> Decision {
    if only_oneself {
        Decision::allow_if(
            facts.is_active(),
            "Only members of the organization leave a chat.",
        )
    } else {
        choose_people(facts, is_responsible)
    }
}

/// Whether the caller may list the participants of a chat. The administration reads the roster; nobody else
/// lists the families of the organization (F3, F25).
pub(crate) fn list_participants(facts: &MemberContext, kind: ChatKind) -> Decision {
    let has_all_families = matches!(
        kind,
        ChatKind::SchoolChannel | ChatKind::ParentsChannel | ChatKind::PupilsChannel
    );
    let allowed = facts.is_active() && (!has_all_families || facts.is_administration());
    Decision::allow_if(
        allowed,
        "Only the administration may list the participants of the channels of the organization.",
    )
}

/// Whether the caller may list the chats that are read-only for want of a responsible adult.
pub(crate) fn list_unsupervised(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_administration(),
        "Only the administration may list the chats without a responsible adult.",
    )
}

/// The rows of the permission matrix. The sample chat is the chat of the pupils of the sample class; for
/// principals who do not participate in it, «Учительская».
pub(crate) fn rules() -> Vec<PermissionRule> {
    let named = |kind| MemberContext::sample(kind).is_some_and(|f| name_people(&f).is_allowed());
    let chooses = |kind| MemberContext::sample(kind).is_some_and(|f| choose_people(&f, true).is_allowed());
    let removes = |kind| MemberContext::sample(kind).is_some_and(|f| remove(&f, false, true).is_allowed());
    let lists = |kind| {
        MemberContext::sample(kind).is_some_and(|f| list_participants(&f, ChatKind::ClassPupils).is_allowed())
    };
    vec![
        PermissionRule::own("parta.chat.v1.ChatService/CreateChat", named),
        PermissionRule::own("parta.chat.v1.ChatService/CreateDirectChat", is_active),
        PermissionRule::own("parta.chat.v1.ChatService/GetChat", is_active),
        PermissionRule::own("parta.chat.v1.ChatService/ListChats", is_active),
        PermissionRule::own("parta.chat.v1.ChatService/AddParticipants", chooses),
        PermissionRule::own("parta.chat.v1.ChatService/RemoveParticipants", removes),
        PermissionRule::own("parta.chat.v1.ChatService/TransferResponsibility", chooses),
        PermissionRule::own("parta.chat.v1.ChatService/ListParticipants", lists),
        PermissionRule::own("parta.chat.v1.ChatService/ListUnsupervisedChats", |kind| {
            MemberContext::sample(kind).is_some_and(|f| list_unsupervised(&f).is_allowed())
        }),
    ]
}

fn is_active(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|f| f.is_active())
}
