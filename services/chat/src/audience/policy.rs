use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use parta_ids::MemberId;
use parta_roster::{HistoryForNewcomers, MemberContext, Role, UnitGround, school_year_begin};

use crate::{
    entries::{Beginning, ParticipantKind, ParticipantRights, Responsibility, Rule},
    talk_policy::{NamedChat, Standing, named_chat},
};

/// The rights that the roster gives a member in a derived chat; `None` if the member does not belong to it.
///
/// If the organization requires verification, an unverified teacher belongs only to «Сотрудники» and
/// «Учительская». Deputies do not publish in channels (F25). A limit toward a child keeps a member out
/// of the child's chats, whatever other ground the member has (F13). The role PARENT gives nothing
/// without a confirmed relation.
pub(crate) fn participant_rights(rule: Rule, facts: &MemberContext) -> Option<ParticipantRights> {
    if !facts.is_active() {
        return None;
    }
    let teaches = |unit| facts.is_cleared() && facts.teaches_in(unit);
    let is_kept_out = match rule {
        Rule::School | Rule::Staff | Rule::StaffRoom | Rule::ParentsChannel | Rule::PupilsChannel => false,
        Rule::Pupils(unit) => facts.is_kept_from_pupils_of(unit) || facts.is_kept_from_whereabouts_of(unit),
        Rule::Parents(unit) | Rule::Teachers(unit) => facts.is_kept_from_whereabouts_of(unit),
    };
    if is_kept_out {
        return None;
    }
    let is_family = facts.roles.contains(&Role::Pupil) || facts.is_parent();
    let publishes = facts.is_administrator() || facts.roles.contains(&Role::Head);
    let may_post = match rule {
        Rule::School if facts.is_staff() && !is_unverified(facts) => publishes,
        Rule::School if is_family && facts.policies.school_channel_open_to_families => false,
        Rule::Staff if facts.is_staff() => publishes,
        Rule::StaffRoom if facts.roles.contains(&Role::Teacher) || facts.is_administration() => true,
        Rule::ParentsChannel if facts.is_administration() || facts.is_parent() => publishes,
        Rule::PupilsChannel if facts.is_administration() || facts.roles.contains(&Role::Pupil) => publishes,
        Rule::Pupils(unit) if facts.is_pupil_in(unit) || teaches(unit) => true,
        Rule::Pupils(unit) if facts.duty_rooms().contains(&unit) => true,
        Rule::Parents(unit) if facts.is_parent_in(unit) => true,
        Rule::Parents(unit) if facts.is_cleared() && facts.acts_as_class_teacher_of(unit) => true,
        Rule::Teachers(unit) if teaches(unit) => true,
        _ => return None,
    };
    Some(ParticipantRights::new(facts, may_post))
}

/// The participation in a derived chat whose unit was archived at `archived`, if it was. An archived unit
/// admits nobody (F17): only grounds that began before count. Their own times decide and not the time at
/// which their events arrive, so that the order of the two feeds makes no difference (ADR 0057).
pub(crate) fn participant_rights_by(
    rule: Rule,
    facts: &MemberContext,
    archived: Option<DateTime<Utc>>,
) -> Option<ParticipantRights> {
    use UnitGround::{ClassTeacher, Parent, Pupil, Substitute, SubstituteClassTeacher, Teacher};
    let rights = participant_rights(rule, facts)?;
    let (Some(unit), Some(archived)) = (rule.unit(), archived) else {
        return Some(rights);
    };
    let began = |ground| facts.ground_began_by(unit, ground, archived);
    let is_cleared = facts.is_cleared();
    let taught = || {
        let permanently = facts.teaches.contains(&unit) && began(Teacher);
        let as_substitute = facts.substitute_in.contains(&unit) && began(Substitute);
        is_cleared && (permanently || as_substitute)
    };
    let led = || {
        let permanently = facts.class_teacher_of.contains(&unit) && began(ClassTeacher);
        let substituted = &facts.substitute_class_teacher_of;
        let as_substitute = substituted.contains(&unit) && began(SubstituteClassTeacher);
        is_cleared && (permanently || as_substitute)
    };
    let is_earlier = match rule {
        Rule::Pupils(_) => {
            let enrolled = facts.is_pupil_in(unit) && began(Pupil);
            enrolled || taught() || facts.has_duty_room_by(unit, archived)
        }
        Rule::Parents(_) => (facts.is_parent_in(unit) && began(Parent)) || led(),
        Rule::Teachers(_) => taught(),
        Rule::School | Rule::Staff | Rule::StaffRoom | Rule::ParentsChannel | Rule::PupilsChannel => true,
    };
    Some(rights).filter(|_| is_earlier)
}

/// Whether the member is a teacher without the badge that the organization requires, and no administration.
fn is_unverified(facts: &MemberContext) -> bool {
    facts.holds(Role::Teacher) && !facts.is_cleared() && !facts.is_administration()
}

/// A substitute reads from this time before the substitution.
const SUBSTITUTE_READS_BEFORE: TimeDelta = TimeDelta::days(7);

/// The time and the time zone of an organization.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calendar {
    pub(crate) now: DateTime<Utc>,
    pub(crate) zone: Tz,
}

/// Since when the member reads a derived chat, by the grounds on which the member is in it (F22), and not by
/// what the member is elsewhere: a member of the staff who is in the parents' chat of a class as a parent
/// reads it as the other parents do. `present` is the beginning of a member who is in the chat already.
pub(crate) fn beginning(
    rule: Rule,
    facts: &MemberContext,
    calendar: Calendar,
    present: Option<Beginning>,
) -> Beginning {
    let present = present.unwrap_or_default();
    Beginning {
        staff: staff_since(rule, facts, calendar, present.staff),
        family: family_since(rule, facts, present.family),
    }
}

/// The administration, other staff and holders of a duty read the whole chat, teachers from the beginning of
/// the school year in which they began, and substitutes from some days before.
fn staff_since(
    rule: Rule,
    facts: &MemberContext,
    calendar: Calendar,
    present: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    use UnitGround::{ClassTeacher, Substitute, SubstituteClassTeacher, Teacher};
    let year_of = |time| school_year_begin(time, calendar.zone);
    let taught = |unit, permanent, substitute| {
        let facts = Some(facts).filter(|facts| facts.is_cleared())?;
        let begun = facts.ground_since(unit, permanent).map(year_of);
        let substitute = facts.ground_since(unit, substitute);
        let substitute = substitute.map(|time| time - SUBSTITUTE_READS_BEFORE);
        begun.into_iter().chain(substitute).min()
    };
    let reads_whole = match rule {
        Rule::School => facts.roles.contains(&Role::Staff) && !is_unverified(facts),
        Rule::Staff => facts.roles.contains(&Role::Staff),
        Rule::Pupils(unit) => facts.duty_rooms().contains(&unit),
        _ => false,
    };
    let is_of_organization = rule.unit().is_none();
    if reads_whole || (is_of_organization && facts.is_administration()) {
        return Some(Beginning::OF_LOG);
    }
    match rule {
        Rule::Pupils(unit) | Rule::Teachers(unit) => taught(unit, Teacher, Substitute),
        Rule::Parents(unit) => taught(unit, ClassTeacher, SubstituteClassTeacher),
        // The roster does not have the time at which a person became a teacher. It is the time at which the
        // teacher came, and stays.
        Rule::School | Rule::StaffRoom if facts.is_cleared() => Some(since_year(present, calendar)),
        Rule::Staff if facts.is_staff() => Some(since_year(present, calendar)),
        _ => None,
    }
}

/// The beginning of the school year of the present beginning, if it is not that of another ground, which
/// opens the whole chat. It is computed again, because the organization may have another time zone now: two
/// days after its begin, a school year has begun in every zone.
fn since_year(present: Option<DateTime<Utc>>, calendar: Calendar) -> DateTime<Utc> {
    let present = present.filter(|time| *time > Beginning::OF_LOG);
    let within = present.map_or(calendar.now, |begin| begin + TimeDelta::days(2));
    school_year_begin(within, calendar.zone)
}

/// Pupils read from their enrollment, and parents from their relation, but no earlier than from the
/// enrollment of the child in the class, unless the policy `history_for_newcomers` says otherwise.
fn family_since(rule: Rule, facts: &MemberContext, present: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    let (by_pupil, by_parent) = match rule {
        Rule::School if !facts.policies.school_channel_open_to_families => (false, false),
        Rule::School => (facts.roles.contains(&Role::Pupil), facts.is_parent()),
        Rule::PupilsChannel => (facts.roles.contains(&Role::Pupil), false),
        Rule::ParentsChannel => (false, facts.is_parent()),
        Rule::Pupils(unit) => (facts.is_pupil_in(unit), false),
        Rule::Parents(unit) => (false, facts.is_parent_in(unit)),
        Rule::Staff | Rule::StaffRoom | Rule::Teachers(_) => (false, false),
    };
    match facts.policies.history_for_newcomers {
        HistoryForNewcomers::FromJoining => return None,
        HistoryForNewcomers::Whole => return Some(Beginning::OF_LOG).filter(|_| by_pupil || by_parent),
        HistoryForNewcomers::FromEnrollment => {}
    }
    if let Some(unit) = rule.unit() {
        let ground = if by_pupil {
            UnitGround::Pupil
        } else {
            UnitGround::Parent
        };
        return facts.ground_since(unit, ground).filter(|_| by_pupil || by_parent);
    }
    // A pupil who moves to another class stays a pupil of the organization.
    let stayed = present.filter(|time| by_pupil && *time > Beginning::OF_LOG);
    let enrolled = facts.pupil_since().filter(|_| by_pupil);
    let related = facts.parent_since.filter(|_| by_parent);
    [stayed, enrolled, related].into_iter().flatten().min()
}

/// Every rule that may give the member rights: those of the organization and the three of each class
/// to which the member is related.
pub(crate) fn derived_rules(facts: &MemberContext) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::from(Rule::OF_ORGANIZATION);
    rules.extend(facts.units().into_iter().flat_map(Rule::of_unit));
    rules.extend(facts.duty_rooms().into_iter().map(Rule::Pupils));
    rules
}

/// The people of a named chat, and who is responsible for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedAudience {
    /// The participants. A member who may not be in the chat is missing.
    pub(crate) participants: BTreeMap<MemberId, ParticipantRights>,
    pub(crate) responsibility: Responsibility,
    /// Whether the responsible member may be it now. Otherwise nobody is, or that member is suspended.
    pub(crate) is_led: bool,
}

impl NamedAudience {
    fn new(people: &[MemberContext], chat: &NamedChat, responsibility: Responsibility) -> Self {
        let rights = |facts: &MemberContext| {
            let standing = *chat.standings.get(&facts.member_id)?;
            let kind = match (standing, ParticipantKind::of(facts)) {
                (Standing::Responsible, _) => ParticipantKind::ClearedStaff,
                // A badge without a ground toward every pupil makes nobody responsible.
                (_, ParticipantKind::ClearedStaff) => ParticipantKind::Staff,
                (_, kind) => kind,
            };
            let may_post = standing != Standing::Suspended;
            let rights = ParticipantRights {
                may_post,
                kind,
                // Everybody reads a named chat from the joining (F22).
                beginning: Beginning::default(),
            };
            Some((facts.member_id, rights))
        };
        let leads = |member| chat.may_lead.contains_key(&member);
        Self {
            participants: people.iter().filter_map(rights).collect(),
            is_led: responsibility.member.is_some_and(leads),
            responsibility,
        }
    }
}

/// Decides who of these people may be in a named chat of them, and who is responsible for it (F14): the
/// present one as long as that member may be, then the deputy, else nobody. A suspended member for whom
/// nobody takes over stays responsible, because a suspension ends nothing; the chat is read-only meanwhile.
/// A deputy who may not be responsible now stays deputy while in the chat.
pub(crate) fn named_audience(people: &[MemberContext], present: Responsibility) -> NamedAudience {
    let chat = named_chat(people);
    let is_other = |deputy: &MemberId| chat.standings.contains_key(deputy) && present.member != Some(*deputy);
    let deputy = present.deputy.filter(is_other);
    let lead = |member: Option<MemberId>, deputy| {
        let unit = *chat.may_lead.get(&member?)?;
        Some(Responsibility { member, deputy, unit })
    };
    let stays = |member: &MemberId| chat.standings.get(member) == Some(&Standing::Suspended);
    let responsibility = lead(present.member, deputy)
        .or_else(|| lead(deputy, None))
        .unwrap_or(Responsibility {
            member: present.member.filter(stays),
            deputy,
            unit: present.unit,
        });
    NamedAudience::new(people, &chat, responsibility)
}

/// The chat of these people if the leader of its unit takes over, who joins it if that is needed. `None` if
/// the leader may not be responsible for it, or if another one would have to leave because of the leader.
pub(crate) fn with_leader(
    people: &[MemberContext],
    leader: &MemberContext,
    present: Responsibility,
) -> Option<NamedAudience> {
    let mut joined = people.to_vec();
    if people.iter().all(|facts| facts.member_id != leader.member_id) {
        joined.push(leader.clone());
    }
    let taken_over = Responsibility {
        member: Some(leader.member_id),
        ..present
    };
    let audience = named_audience(&joined, taken_over);
    let staying = named_chat(people).standings;
    let is_led = audience.is_led && audience.responsibility.member == taken_over.member;
    let all_stay = staying
        .keys()
        .all(|member| audience.participants.contains_key(member));
    (is_led && all_stay).then_some(audience)
}
