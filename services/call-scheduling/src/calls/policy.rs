//! The permissions to organize, see, join and manage calls (R50, R55): pure functions over facts of the
//! roster.
use chrono::{DateTime, TimeDelta};
use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::{CallId, MemberId, TypedId as _, Uuid};
use parta_roster::{Child, DutyFunction, LimitedChild, MemberContext, RelationLimit, Role, State};

use super::model::{Call, Draft, Format, Kind, Organizers};
use crate::recurrence::Schedule;

/// Whether the caller may plan this call. `named` has the facts about the named participants.
pub(crate) fn organize(facts: &MemberContext, draft: &Draft, named: &[MemberContext]) -> Decision {
    Decision::allow_if(
        may_organize(facts, draft, named),
        "You cannot organize calls of this kind for this unit.",
    )
}

fn may_organize(facts: &MemberContext, draft: &Draft, named: &[MemberContext]) -> bool {
    let (kind, unit) = (draft.kind, draft.unit_id);
    let (administration, organizers) = (facts.is_administration(), kind.rule().organizers);
    // A call in a unit without pupils has limits of the organizer only as a parent, when the organizer joins.
    if !facts.is_active() || !facts.is_staff() || is_limited(facts, draft, true, &LIMITS_OF_CALLS) {
        return false;
    }
    if organizers == Organizers::UnitTeachersAndDuties && meets_by_duty(facts, draft, named) {
        return true;
    }
    // A teacher who is not cleared organizes calls for staff only. The administration plans calls for
    // families that others hold.
    if kind.is_for_families() && !facts.is_cleared() && !administration {
        return false;
    }
    match organizers {
        Organizers::UnitTeachers | Organizers::UnitTeachersAndDuties => facts.teaches_in(unit),
        Organizers::UnitTeachersAndAdministration => facts.teaches_in(unit) || administration,
        Organizers::ClassTeacher => facts.acts_as_class_teacher_of(unit),
        Organizers::ClassTeacherAndAdministration => facts.acts_as_class_teacher_of(unit) || administration,
        Organizers::Administration => administration,
        Organizers::Staff => true,
        Organizers::Teachers => facts.roles.contains(&Role::Teacher),
    }
}

/// Whether a duty of the member concerns the pupils and parents of a call with pupils (F3): all of the unit,
/// or each of those who are named, and at least one. Without the facts about the named participants it
/// concerns nobody.
fn meets_by_duty(facts: &MemberContext, draft: &Draft, named: &[MemberContext]) -> bool {
    if !draft.kind.rule().audience.pupils {
        return false;
    }
    if draft.participants.is_empty() {
        return facts.may_in_unit(DutyFunction::Rooms, draft.unit_id);
    }
    let mut families = named.iter().filter(|other| is_family(other)).peekable();
    families.peek().is_some() && families.all(|other| facts.may(DutyFunction::Rooms, other))
}

/// Whether a member belongs to the audience of such a call. `named` has the facts about the named
/// participants.
///
/// Nobody of the staff is in a call with pupils who is not cleared and has no duty toward all of them (F3).
/// A duty for the organization places nobody in the calls of a whole unit, as it does in no chat of a unit:
/// its holder organizes a call, or is named.
pub(crate) fn is_in_audience(
    facts: &MemberContext,
    draft: &Draft,
    unit_is_class: bool,
    named: &[MemberContext],
) -> bool {
    belongs_as_family(facts, draft, unit_is_class) || belongs_as_staff(facts, draft, unit_is_class, named)
}

fn belongs_as_family(facts: &MemberContext, draft: &Draft, unit_is_class: bool) -> bool {
    if !facts.is_active() {
        return false;
    }
    let (unit, audience) = (draft.unit_id, draft.kind.rule().audience);
    if unit_is_class {
        (audience.pupils && facts.is_pupil_in(unit)) || (audience.parents && facts.is_parent_in(unit))
    } else {
        // An event of the whole organization.
        (audience.pupils && facts.roles.contains(&Role::Pupil)) || (audience.parents && facts.is_parent())
    }
}

fn belongs_as_staff(
    facts: &MemberContext,
    draft: &Draft,
    unit_is_class: bool,
    named: &[MemberContext],
) -> bool {
    if !facts.is_active() {
        return false;
    }
    let (unit, audience) = (draft.unit_id, draft.kind.rule().audience);
    let is_placed_by_duty = meets_by_duty(facts, draft, named)
        && (!draft.participants.is_empty() || facts.duty_rooms().contains(&unit));
    // Calls of a unit of the staff are for all staff. The office gives no pupils (F3): the
    // administration joins the calls with pupils of a class that it organizes, teaches or meets by a
    // duty.
    let may_enter_unit = !unit_is_class
        || facts.teaches_in(unit)
        || (facts.is_administration() && !audience.pupils)
        || is_placed_by_duty;
    may_enter_unit && may_attend_as_staff(facts, draft, named)
}

/// Whether a member may be in such a call as staff. A call for families requires clearance, or a duty
/// toward those who are in it; without them, the administration attends the calls in which there are no
/// pupils.
fn may_attend_as_staff(facts: &MemberContext, draft: &Draft, named: &[MemberContext]) -> bool {
    let has_pupils = draft.kind.rule().audience.pupils;
    let meets_families = facts.is_cleared()
        || (facts.is_administration() && !has_pupils)
        || meets_by_duty(facts, draft, named);
    facts.is_staff() && (!draft.kind.is_for_families() || meets_families)
}

/// Whether a limit toward a child whom the call concerns applies to the member (F13). It wins over every
/// other ground. In a call of the whole unit the strictest limit among the member's children there
/// applies, and in an event of the whole organization the strictest one of all. Parents meet without
/// the children, so that only NO_WHEREABOUTS applies to a call for parents.
fn is_limited(facts: &MemberContext, draft: &Draft, unit_is_class: bool, limits: &[RelationLimit]) -> bool {
    let audience = draft.kind.rule().audience;
    let named = &draft.participants;
    let concerns = |child: &LimitedChild| {
        let is_named = !audience.pupils || named.is_empty() || named.contains(&child.member_id);
        is_named && (!unit_is_class || child.units.contains(&draft.unit_id))
    };
    let applies =
        |limit: RelationLimit| audience.pupils || (audience.parents && limit == RelationLimit::NoWhereabouts);
    let forbids = |child: &LimitedChild| {
        limits
            .iter()
            .any(|limit| applies(*limit) && child.limits.forbids(*limit))
    };
    facts
        .limited
        .iter()
        .any(|child| concerns(child) && forbids(child))
}

/// The limits that keep a member out of a call.
const LIMITS_OF_CALLS: [RelationLimit; 2] = [RelationLimit::NoContact, RelationLimit::NoWhereabouts];

/// Whether the organizer may name these participants, of whom `named` has the facts. Families read the title
/// and the place of a call in which they are named, so that the organizer must meet each of them: by an
/// assignment to the unit, or by a duty (F3). The administration plans calls for a whole unit, and
/// names nobody whom it does not meet.
pub(crate) fn name(facts: &MemberContext, draft: &Draft, named: &[MemberContext]) -> Decision {
    let meets = (facts.is_cleared() && facts.teaches_in(draft.unit_id)) || meets_by_duty(facts, draft, named);
    let is_allowed = !named.iter().any(is_family)
        || (meets
            && named
                .iter()
                .filter(|other| is_family(other))
                .all(|other| facts.may_contact(other)));
    Decision::allow_if(
        is_allowed,
        "You may not invite one of the participants to a call.",
    )
}

/// Whether one adult and one pupil would meet by video in another call than a lesson or a consultation (F15).
/// Those two are seen by the guardians of the pupil.
pub(crate) fn is_alone_with_a_pupil(draft: &Draft, named: &[MemberContext]) -> bool {
    let is_planned_alone = matches!(draft.kind, Kind::Lesson | Kind::Consultation);
    let one_pupil = matches!(named, [one] if one.holds(Role::Pupil));
    one_pupil && draft.format != Format::InPerson && !is_planned_alone
}

/// Whether a participant is a pupil or a parent, and has no role of the staff.
fn is_family(other: &MemberContext) -> bool {
    let is_only_parent = other.holds(Role::Parent) && !other.holds_staff_role();
    other.state != State::Left && (other.holds(Role::Pupil) || is_only_parent)
}

/// Whether the caller sees who is named in the call. Families see themselves and their children (R83).
pub(crate) fn shows_participant(facts: &MemberContext, call: &Call, participant: MemberId) -> bool {
    let sees_all = !call.draft.kind.is_for_families()
        || facts.is_cleared()
        || facts.is_administration()
        || call.organizer_id == facts.member_id;
    sees_all || participant == facts.member_id || facts.is_guardian_of(participant)
}

pub(crate) fn may_join(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> bool {
    if is_limited(facts, &call.draft, call.unit_is_class, &LIMITS_OF_CALLS) {
        return false;
    }
    let is_invited_as_family =
        is_invited(facts, call) && belongs_as_family(facts, &call.draft, call.unit_is_class);
    is_invited_as_family || attends_as_staff(facts, call, named)
}

fn is_invited(facts: &MemberContext, call: &Call) -> bool {
    let participants = &call.draft.participants;
    participants.is_empty() || participants.contains(&facts.member_id)
}

/// Whether a member is in the call as staff: as its organizer, or by an own ground in its audience. Staff who
/// are in it as parents are not, and no call with pupils opens for them (F15).
pub(crate) fn attends_as_staff(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> bool {
    hosts(facts, call, named)
        || (is_invited(facts, call) && belongs_as_staff(facts, &call.draft, call.unit_is_class, named))
}

/// Whether a member has the powers of the organizer in the room: the organizer, while the organizer may
/// organize such a call and be in it as staff.
pub(crate) fn hosts(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> bool {
    call.organizer_id == facts.member_id
        && may_organize(facts, &call.draft, named)
        && may_attend_as_staff(facts, &call.draft, named)
}

/// Whether the caller may see the call: everyone who may join, the organizer, the administration, and parents
/// of its pupils.
pub(crate) fn may_see(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> bool {
    let limits = [RelationLimit::NoWhereabouts];
    if !facts.is_active() || is_limited(facts, &call.draft, call.unit_is_class, &limits) {
        return false;
    }
    let organizes_or_administers =
        facts.is_staff() && (call.organizer_id == facts.member_id || facts.is_administration());
    organizes_or_administers || may_join(facts, call, named) || is_for_own_child(facts, call)
}

fn is_for_own_child(facts: &MemberContext, call: &Call) -> bool {
    let participants = &call.draft.participants;
    let is_invited = |child: &Child| {
        let is_participant = participants.is_empty() || participants.contains(&child.member_id);
        child.units.contains(&call.draft.unit_id) && is_participant && !child.unit_rooms_only
    };
    call.draft.kind.rule().audience.pupils && facts.children.iter().any(is_invited)
}

pub(crate) fn see(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> Decision {
    Decision::allow_if(may_see(facts, call, named), "The call does not concern you.")
}

/// Whether the caller may list calls. [`may_see`] decides about each call.
pub(crate) fn list(facts: &MemberContext) -> Decision {
    Decision::allow_if(facts.is_active(), "Only active members have calls.")
}

/// Whether the caller may cancel and announce the call: the administration, and the organizer while the
/// organizer may organize such a call.
pub(crate) fn manage(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> Decision {
    let organizes = call.organizer_id == facts.member_id && may_organize(facts, &call.draft, named);
    Decision::allow_if(
        facts.is_active() && (organizes || facts.is_administration()),
        "Only the organizer and the administration can manage the call.",
    )
}

/// The feature's rows of the permission matrix, about a lesson of the sample class.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![
        PermissionRule::own("parta.call_scheduling.v1.CallService/PlanCall", |kind| {
            MemberContext::sample(kind)
                .is_some_and(|facts| organize(&facts, &sample_call(&facts).draft, &[]).is_allowed())
        }),
        PermissionRule::own("parta.call_scheduling.v1.CallService/GetCall", |kind| {
            MemberContext::sample(kind)
                .is_some_and(|facts| see(&facts, &sample_call(&facts), &[]).is_allowed())
        }),
        PermissionRule::own("parta.call_scheduling.v1.CallService/ListOccurrences", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| list(&facts).is_allowed())
        }),
        PermissionRule::own("parta.call_scheduling.v1.CallService/CancelCall", manages_sample)
            .or_creator(manages_own_sample),
        PermissionRule::own(
            "parta.call_scheduling.v1.CallService/CancelOccurrence",
            manages_sample,
        )
        .or_creator(manages_own_sample),
    ]
}

/// Whether a principal may manage a call that another member organizes.
pub(crate) fn manages_sample(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|facts| manage(&facts, &sample_call(&facts), &[]).is_allowed())
}

/// Whether a principal may manage a call that the principal organizes.
pub(crate) fn manages_own_sample(kind: PrincipalKind) -> bool {
    MemberContext::sample(kind).is_some_and(|facts| {
        let mut call = sample_call(&facts);
        call.organizer_id = facts.member_id;
        organize(&facts, &call.draft, &[]).is_allowed() && manage(&facts, &call, &[]).is_allowed()
    })
}

/// A lesson of the sample class that another member organizes.
pub(crate) fn sample_call(facts: &MemberContext) -> Call {
    Call {
        id: CallId::from_uuid(Uuid::from_u128(9)),
        draft: Draft {
            org_id: facts.org_id,
            unit_id: MemberContext::sample_unit(),
            title: String::new(),
            kind: Kind::Lesson,
            format: Format::Online,
            room: String::new(),
            participants: Vec::new(),
        },
        unit_is_class: true,
        organizer_id: MemberId::from_uuid(Uuid::from_u128(8)),
        schedule: Schedule {
            start: DateTime::UNIX_EPOCH.naive_utc(),
            zone: chrono_tz::UTC,
            duration: TimeDelta::minutes(45),
            weekly: None,
        },
        announced: false,
        canceled: None,
        create_time: DateTime::UNIX_EPOCH,
        revision: 1,
    }
}
