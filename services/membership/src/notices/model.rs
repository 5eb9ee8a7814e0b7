//! The templates of notices, in Russian and in English.
//!
//! A person has no language yet (R76): a mail has both texts, and an SMS the Russian one, as with codes.
use parta_ids::{GuardianshipId, JoinRequestId, MemberId, SuspensionId};
use serde::{Deserialize, Serialize};

use crate::delivery::Message;

/// A notice with its arguments. It is stored in jobs: its form is read by the next builds too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "template", rename_all = "snake_case")]
pub(crate) enum Notice {
    /// To the suspended member.
    SuspensionBegun { suspension_id: SuspensionId },
    /// To the members of the administration who may decide about a suspension.
    SuspensionToDecide {
        suspension_id: SuspensionId,
        /// `None` until the deciders are looked up, each of whom then gets a notice.
        decider_id: Option<MemberId>,
    },
    /// To the guardian of a relation that was limited or ended, or whose limits were lifted.
    RelationLimited { guardianship_id: GuardianshipId },
    /// To the head, or to the administration without one, about a provisional limit that waits for too long.
    LimitToDecide {
        guardianship_id: GuardianshipId,
        /// `None` until the deciders are looked up, each of whom then gets a notice.
        decider_id: Option<MemberId>,
    },
    /// To the person who requested to join.
    JoinRequestDecided { join_request_id: JoinRequestId },
    /// To the member for whom a one-time code was issued, and to the guardians of a pupil.
    CodeIssued {
        member_id: MemberId,
        /// `None` until the recipients are looked up, each of whom then gets a notice.
        recipient_id: Option<MemberId>,
    },
    /// To the same people, when a person has signed in with the code.
    CodeUsed {
        member_id: MemberId,
        /// The same recipients as those of [`Self::CodeIssued`].
        recipient_id: Option<MemberId>,
    },
}

impl Notice {
    /// The name of the template in metrics.
    pub(crate) fn template(self) -> &'static str {
        match self {
            Self::SuspensionBegun { .. } => "suspension_begun",
            Self::SuspensionToDecide { .. } => "suspension_to_decide",
            Self::RelationLimited { .. } => "relation_limited",
            Self::LimitToDecide { .. } => "limit_to_decide",
            Self::JoinRequestDecided { .. } => "join_request_decided",
            Self::CodeIssued { .. } => "code_issued",
            Self::CodeUsed { .. } => "code_used",
        }
    }
}

fn message(subject: &str, russian: String, english: &str) -> Message {
    Message {
        subject: subject.to_owned(),
        mail: format!("{russian}\n\n{english}"),
        sms: russian,
    }
}

/// The text of a notice. `child` is the name of the child of a relation; it is left out if empty.
pub(crate) fn text(notice: Notice, organization: &str, child: &str) -> Message {
    let named = if child.is_empty() {
        String::new()
    } else {
        format!(" ({child})")
    };
    match notice {
        Notice::SuspensionBegun { .. } => message(
            "Доступ приостановлен",
            format!(
                "{organization}: ваш доступ в Parta приостановлен. По всем вопросам обращайтесь в администрацию."
            ),
            &format!("{organization}: your access to Parta is suspended. Please contact the administration."),
        ),
        Notice::SuspensionToDecide { .. } => message(
            "Решение о приостановке доступа",
            format!(
                "{organization}: приостановлен доступ одного из участников. Подтвердите или отмените это решение \
                 в Parta в течение 72 часов."
            ),
            &format!(
                "{organization}: the access of a member was suspended. Confirm or lift the suspension in Parta \
                 within 72 hours."
            ),
        ),
        Notice::RelationLimited { .. } => message(
            "Права представителя изменены",
            format!(
                "{organization}: изменены ваши права представителя ребёнка{named} в Parta. По всем вопросам \
                 обращайтесь в администрацию."
            ),
            &format!(
                "{organization}: your rights as a guardian of the child{named} in Parta have changed. Please \
                 contact the administration."
            ),
        ),
        Notice::LimitToDecide { .. } => message(
            "Решение об ограничении прав представителя",
            format!(
                "{organization}: временное ограничение прав представителя ребёнка ждёт решения более 72 часов. \
                 Примите решение в Parta."
            ),
            &format!(
                "{organization}: a provisional limit of a guardian has waited for a decision for more than 72 \
                 hours. Please decide in Parta."
            ),
        ),
        Notice::JoinRequestDecided { .. } => message(
            "Решение по вашей заявке",
            format!("{organization}: по вашей заявке на вступление принято решение. Откройте Parta."),
            &format!("{organization}: your request to join was decided. Please open Parta."),
        ),
        Notice::CodeIssued {
            member_id,
            recipient_id,
        } => code_issued(organization, recipient_id == Some(member_id)),
        Notice::CodeUsed {
            member_id,
            recipient_id,
        } => code_used(organization, recipient_id == Some(member_id)),
    }
}

/// A code was issued for the recipient, or for the child of the recipient.
fn code_issued(organization: &str, own: bool) -> Message {
    let (whose, whose_english) = if own {
        ("вашего входа", "you")
    } else {
        ("входа вашего ребёнка", "your child")
    };
    message(
        "Выдан код для входа",
        format!(
            "{organization}: для {whose} в Parta выдан одноразовый код. Если вы о нём не знаете, сообщите в \
             администрацию."
        ),
        &format!(
            "{organization}: a one-time code was issued with which {whose_english} can sign in to Parta. If you do \
             not know of it, please contact the administration."
        ),
    )
}

/// A person has signed in with a code as the recipient, or as the child of the recipient.
fn code_used(organization: &str, own: bool) -> Message {
    let (russian, english) = if own {
        (
            "по одноразовому коду выполнен вход от вашего имени. Если это не вы, сообщите в администрацию.",
            "a person has signed in to Parta as you with a one-time code. If it was not you, please contact the \
             administration.",
        )
    } else {
        (
            "по одноразовому коду выполнен вход от имени вашего ребёнка. Подтвердите его в Parta или отзовите код.",
            "a person has signed in to Parta as your child with a one-time code. Please confirm it in Parta, or \
             revoke the code.",
        )
    };
    message(
        "Вход по одноразовому коду",
        format!("{organization}: {russian}"),
        &format!("{organization}: {english}"),
    )
}

/// The text of every notice to a pupil, whose phone or mail others may read (F11).
pub(crate) fn without_content(organization: &str) -> Message {
    message(
        "Сообщение",
        format!("{organization}: для вас есть сообщение. Откройте Parta или обратитесь в администрацию."),
        &format!("{organization}: there is news for you. Please open Parta or contact the administration."),
    )
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    fn all() -> [Notice; 9] {
        let id = Uuid::from_u128(1);
        let member_id = MemberId::from_uuid(id);
        let decider_id = Some(member_id);
        let (suspension_id, guardianship_id) = (SuspensionId::from_uuid(id), GuardianshipId::from_uuid(id));
        [
            Notice::SuspensionBegun { suspension_id },
            Notice::SuspensionToDecide {
                suspension_id,
                decider_id,
            },
            Notice::RelationLimited { guardianship_id },
            Notice::LimitToDecide {
                guardianship_id,
                decider_id,
            },
            Notice::JoinRequestDecided {
                join_request_id: JoinRequestId::from_uuid(id),
            },
            Notice::CodeIssued {
                member_id,
                recipient_id: Some(member_id),
            },
            Notice::CodeIssued {
                member_id,
                recipient_id: None,
            },
            Notice::CodeUsed {
                member_id,
                recipient_id: Some(member_id),
            },
            Notice::CodeUsed {
                member_id,
                recipient_id: None,
            },
        ]
    }

    /// The length of three parts of a long message with Cyrillic letters, in units of UCS-2.
    const THREE_PARTS: usize = 3 * 67;

    #[test]
    fn notices_fit_into_three_parts_of_an_sms() {
        let organization = "МБОУ «Средняя общеобразовательная школа № 5»";
        for notice in all() {
            let text = text(notice, organization, "Артём Белов");
            assert!(text.sms.encode_utf16().count() <= THREE_PARTS, "{}", text.sms);
            assert!(text.mail.starts_with(&text.sms), "{}", text.mail);
        }
    }

    #[test]
    fn name_of_the_child_is_only_in_the_notice_to_the_guardian() {
        for notice in all() {
            let names = text(notice, "Школа", "Артём Белов").mail.contains("Белов");
            assert_eq!(
                names,
                matches!(notice, Notice::RelationLimited { .. }),
                "{notice:?}"
            );
        }
        let relation = all()[2];
        assert!(!text(relation, "Школа", "").mail.contains('('));
    }

    #[test]
    fn payload_names_its_template_and_ids_only() {
        let payload = serde_json::to_string(&all()[0]).unwrap();
        let id = SuspensionId::from_uuid(Uuid::from_u128(1));
        assert_eq!(
            payload,
            format!("{{\"template\":\"suspension_begun\",\"suspension_id\":\"{id}\"}}")
        );
        for notice in all() {
            let payload = serde_json::to_vec(&notice).unwrap();
            assert_eq!(serde_json::from_slice::<Notice>(&payload).unwrap(), notice);
            let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(value["template"], notice.template());
        }
    }
}
