//! A model of a school, which makes the events of all kinds as the two services publish them.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta};
use parta_ids::{
    AssignmentId, DutyId, EnrollmentId, GuardianshipId, InvitationId, JoinRequestId, MemberId,
    RosterImportId, SuspensionId, TypedId, UnitId, Uuid,
};
use parta_proto_membership::v1::{self as pb, duty_scope::Scope, membership_event::Payload as Member};
use parta_proto_org_registry::v1::{self as orgs, org_registry_event::Payload as Org};

/// Returns the id of the member, the unit or the fact with this number.
pub fn id<T: TypedId>(number: u32) -> T {
    T::from_uuid(Uuid::from_u128(u128::from(number) + 1))
}

fn text<T: TypedId>(number: u32) -> String {
    id::<T>(number).to_string()
}

/// The beginning of the fact with a number. A build that publishes none made some of them.
fn begin_of(number: u32) -> Option<prost_types::Timestamp> {
    let begin = DateTime::UNIX_EPOCH + TimeDelta::days(number.into());
    (!number.is_multiple_of(5)).then(|| parta_proto::timestamp(begin))
}

/// An event of one of the feeds.
#[derive(Debug, Clone)]
pub enum Event {
    /// An event of org-registry.
    Org(Org),
    /// An event of membership.
    Member(Member),
}

/// The number of kinds of events, in the order of [`kind`].
pub const KINDS: u8 = 26;

/// Numbers the kinds. A new kind of event does not compile until [`School::step`] makes it.
pub fn kind(event: &Event) -> u8 {
    match event {
        Event::Org(Org::OrganizationCreated(_)) => 0,
        Event::Org(Org::OrganizationUpdated(_)) => 1,
        Event::Org(Org::PoliciesChanged(_)) => 2,
        Event::Org(Org::UnitCreated(_)) => 3,
        Event::Org(Org::UnitRenamed(_)) => 4,
        Event::Org(Org::UnitArchived(_)) => 5,
        Event::Member(Member::MemberAdmitted(_)) => 6,
        Event::Member(Member::MemberChanged(_)) => 7,
        Event::Member(Member::AssignmentCreated(_)) => 8,
        Event::Member(Member::AssignmentEnded(_)) => 9,
        Event::Member(Member::EnrollmentBegun(_)) => 10,
        Event::Member(Member::EnrollmentEnded(_)) => 11,
        Event::Member(Member::GuardianshipEstablished(_)) => 12,
        Event::Member(Member::GuardianshipChanged(_)) => 13,
        Event::Member(Member::GuardianshipEnded(_)) => 14,
        Event::Member(Member::RosterImportStaged(_)) => 15,
        Event::Member(Member::MemberSuspended(_)) => 16,
        Event::Member(Member::MemberReinstated(_)) => 17,
        Event::Member(Member::DutyAssigned(_)) => 18,
        Event::Member(Member::DutyEnded(_)) => 19,
        Event::Member(Member::ActingHeadAppointed(_)) => 20,
        Event::Member(Member::ActingHeadEnded(_)) => 21,
        Event::Member(Member::JoinRequested(_)) => 22,
        Event::Member(Member::JoinDecided(_)) => 23,
        Event::Member(Member::RelationLimited(_)) => 24,
        Event::Member(Member::FamilyProtectionChanged(_)) => 25,
    }
}

/// The present state of a school at the two services.
#[derive(Debug, Clone, Default)]
pub struct School {
    organization: Option<orgs::OrganizationCreated>,
    units: BTreeMap<u32, orgs::UnitCreated>,
    members: BTreeMap<u32, pb::MemberAdmitted>,
    assignments: BTreeMap<u32, pb::AssignmentCreated>,
    enrollments: BTreeMap<u32, pb::EnrollmentBegun>,
    guardianships: BTreeMap<u32, pb::GuardianshipEstablished>,
    suspensions: BTreeMap<u32, pb::MemberSuspended>,
    duties: BTreeMap<u32, pb::DutyAssigned>,
    limits: BTreeMap<(u32, u32), pb::RelationLimited>,
    protected: BTreeSet<u32>,
    acting_head: Option<u32>,
    requested: BTreeMap<u32, pb::JoinRequested>,
    decided: Vec<pb::JoinDecided>,
    staged: Vec<pb::RosterImportStaged>,
    /// The number of relations, none of which has the id of another one.
    made: u32,
}

/// The number of members of the model, which is small so that events concern the same ones.
pub const MEMBERS: u8 = 4;
/// The number of units of the model.
pub const UNITS: u8 = 3;

fn roles(bits: u8) -> Vec<i32> {
    (1..=7).filter(|role| bits >> role & 1 == 1).collect()
}

/// Most members are active.
fn state(number: u8) -> i32 {
    let state = match number % 5 {
        0 => pb::MemberState::Expected,
        1 => pb::MemberState::Left,
        _ => pb::MemberState::Active,
    };
    state.into()
}

fn policies(bits: u8) -> Option<orgs::Policies> {
    Some(orgs::Policies {
        teacher_verification: i32::from(bits >> 3 & 1) + 1,
        school_channel_open_to_families: bits & 1 == 1,
        version: i64::from(bits),
        history_for_newcomers: i32::from(bits >> 1 & 3),
        ..Default::default()
    })
}

/// Takes the entry of a map that a number chooses.
fn choose<T>(of: &mut BTreeMap<u32, T>, number: u8) -> Option<(u32, T)> {
    let at = usize::from(number).checked_rem(of.len())?;
    let key = *of.keys().nth(at)?;
    of.remove(&key).map(|value| (key, value))
}

impl School {
    fn next_id(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// Changes the school by numbers of any value. Returns the event, or `None` if the school has nothing
    /// that could change in this way.
    pub fn step(&mut self, [kind, a, b, flags]: [u8; 4]) -> Option<Event> {
        let kind = kind % KINDS;
        let (one, other, unit) = (
            u32::from(a % MEMBERS),
            u32::from(b % MEMBERS),
            u32::from(b % UNITS),
        );
        let (member_id, unit_id) = (text::<MemberId>(one), text::<UnitId>(unit));
        Some(match kind {
            0..=5 => Event::Org(self.step_of_organization(kind, unit, flags)?),
            6 | 7 => Event::Member(self.step_of_member(kind, one, flags)?),
            8 => {
                let id = self.next_id();
                let created = pb::AssignmentCreated {
                    assignment_id: text::<AssignmentId>(id),
                    member_id,
                    unit_id,
                    kind: i32::from(flags % 2) + 1,
                    substitution: flags & 2 == 2,
                    begin_time: begin_of(id),
                };
                self.assignments.insert(id, created.clone());
                Event::Member(Member::AssignmentCreated(created))
            }
            9 => {
                let (_, ended) = choose(&mut self.assignments, a)?;
                let assignment_id = ended.assignment_id;
                Event::Member(Member::AssignmentEnded(pb::AssignmentEnded { assignment_id }))
            }
            10 => {
                let id = self.next_id();
                let begun = pb::EnrollmentBegun {
                    enrollment_id: text::<EnrollmentId>(id),
                    member_id,
                    unit_id,
                    begin_time: begin_of(id),
                };
                self.enrollments.insert(id, begun.clone());
                Event::Member(Member::EnrollmentBegun(begun))
            }
            11 => {
                let (_, ended) = choose(&mut self.enrollments, a)?;
                let enrollment_id = ended.enrollment_id;
                Event::Member(Member::EnrollmentEnded(pb::EnrollmentEnded { enrollment_id }))
            }
            12..=14 | 24 | 25 => Event::Member(self.step_of_family(kind, one, other, flags)?),
            16..=21 => Event::Member(self.step_of_staff(kind, (one, other), unit, flags)?),
            _ => Event::Member(self.step_of_joining(kind, a, flags)?),
        })
    }

    fn step_of_organization(&mut self, kind: u8, unit: u32, flags: u8) -> Option<Org> {
        let unit_id = text::<UnitId>(unit);
        if (kind == 0) == self.organization.is_some() {
            return None;
        }
        // It is the first event of the log.
        let organization = self.organization.get_or_insert_default();
        Some(match kind {
            0 => Org::OrganizationCreated(organization.clone()),
            1 => {
                let zone = ["Europe/Moscow", "Asia/Vladivostok"][usize::from(flags % 2)];
                let (display_name, time_zone) = (format!("Школа № {flags}"), zone.to_owned());
                organization.display_name.clone_from(&display_name);
                organization.time_zone.clone_from(&time_zone);
                Org::OrganizationUpdated(orgs::OrganizationUpdated {
                    display_name,
                    time_zone,
                })
            }
            2 => {
                organization.policies = policies(flags);
                let policies = policies(flags);
                Org::PoliciesChanged(orgs::PoliciesChanged { policies })
            }
            3 => {
                let (roster_import_id, source_key) = match flags & 1 {
                    1 => (text::<RosterImportId>(1), "5А".to_owned()),
                    _ => Default::default(),
                };
                let created = orgs::UnitCreated {
                    unit_id,
                    kind: i32::from(flags % 3) + 1,
                    label: format!("{flags}А"),
                    roster_import_id,
                    source_key,
                    ..Default::default()
                };
                if self.units.contains_key(&unit) {
                    return None;
                }
                self.units.insert(unit, created.clone());
                Org::UnitCreated(created)
            }
            4 => {
                let label = format!("{flags}Б");
                self.units.get_mut(&unit)?.label.clone_from(&label);
                Org::UnitRenamed(orgs::UnitRenamed { unit_id, label })
            }
            _ => {
                let archive_time = begin_of(self.next_id());
                let archived = self.units.get_mut(&unit).filter(|unit| !unit.archived)?;
                (archived.archived, archived.archive_time) = (true, archive_time);
                Org::UnitArchived(orgs::UnitArchived {
                    unit_id,
                    archive_time,
                })
            }
        })
    }

    fn step_of_member(&mut self, kind: u8, member: u32, flags: u8) -> Option<Member> {
        let known = self.members.get(&member).cloned();
        if (kind == 6) == known.is_some() {
            return None;
        }
        let before = known.unwrap_or_default();
        let row = pb::MemberAdmitted {
            member_id: text::<MemberId>(member),
            state: state(flags),
            roles: roles(flags),
            teacher_verified: (flags / 7).is_multiple_of(2),
            release_count: before.release_count + i32::from(flags & 1),
            removed_for_cause: flags & 4 == 4,
            ..Default::default()
        };
        self.members.insert(member, row.clone());
        Some(match kind {
            6 => Member::MemberAdmitted(row),
            _ => Member::MemberChanged(pb::MemberChanged {
                member_id: row.member_id,
                state: row.state,
                roles: row.roles,
                teacher_verified: row.teacher_verified,
                release_count: row.release_count,
                removed_for_cause: row.removed_for_cause,
            }),
        })
    }

    fn step_of_family(&mut self, kind: u8, guardian: u32, child: u32, flags: u8) -> Option<Member> {
        let (guardian_id, child_id) = (text::<MemberId>(guardian), text::<MemberId>(child));
        let (confirmed, unit_rooms_only) = (flags & 1 == 1, flags & 2 == 2);
        Some(match kind {
            12 => {
                let id = self.next_id();
                let made = pb::GuardianshipEstablished {
                    guardianship_id: text::<GuardianshipId>(id),
                    guardian_id,
                    child_id,
                    confirmed,
                    unit_rooms_only,
                    begin_time: begin_of(id),
                    ..Default::default()
                };
                self.guardianships.insert(id, made.clone());
                Member::GuardianshipEstablished(made)
            }
            13 => {
                let (id, made) = choose(&mut self.guardianships, flags)?;
                let guardianship_id = made.guardianship_id.clone();
                let changed = pb::GuardianshipEstablished {
                    confirmed,
                    unit_rooms_only,
                    ..made
                };
                self.guardianships.insert(id, changed);
                Member::GuardianshipChanged(pb::GuardianshipChanged {
                    guardianship_id,
                    confirmed,
                    unit_rooms_only,
                    ..Default::default()
                })
            }
            14 => {
                let (_, ended) = choose(&mut self.guardianships, flags)?;
                let guardianship_id = ended.guardianship_id;
                Member::GuardianshipEnded(pb::GuardianshipEnded { guardianship_id })
            }
            24 => {
                let limits = pb::RelationLimited {
                    guardian_id,
                    child_id,
                    limits: roles(flags),
                };
                if limits.limits.is_empty() {
                    self.limits.remove(&(guardian, child));
                } else {
                    self.limits.insert((guardian, child), limits.clone());
                }
                Member::RelationLimited(limits)
            }
            _ => {
                let protected = confirmed;
                if protected {
                    self.protected.insert(child);
                } else {
                    self.protected.remove(&child);
                }
                Member::FamilyProtectionChanged(pb::FamilyProtectionChanged { child_id, protected })
            }
        })
    }

    fn step_of_staff(&mut self, kind: u8, members: (u32, u32), unit: u32, flags: u8) -> Option<Member> {
        let (member, pupil) = members;
        let member_id = text::<MemberId>(member);
        // Only members whom membership has admitted.
        self.members.get(&member)?;
        Some(match kind {
            16 => {
                let id = self.next_id();
                let suspended = pb::MemberSuspended {
                    suspension_id: text::<SuspensionId>(id),
                    member_id,
                    roles: roles(flags),
                };
                self.suspensions.insert(id, suspended.clone());
                Member::MemberSuspended(suspended)
            }
            17 => {
                let (_, ended) = choose(&mut self.suspensions, flags)?;
                let suspension_id = ended.suspension_id;
                Member::MemberReinstated(pb::MemberReinstated { suspension_id })
            }
            18 => {
                let id = self.next_id();
                let scope = match flags % 3 {
                    0 => Scope::Organization(true),
                    1 => Scope::UnitId(text::<UnitId>(unit)),
                    _ => Scope::Pupils(pb::DutyPupils {
                        member_ids: vec![text::<MemberId>(pupil)],
                    }),
                };
                let assigned = pb::DutyAssigned {
                    duty_id: text::<DutyId>(id),
                    member_id,
                    kind: i32::from(flags % 7) + 1,
                    scope: Some(pb::DutyScope { scope: Some(scope) }),
                    begin_time: begin_of(id),
                };
                self.duties.insert(id, assigned.clone());
                Member::DutyAssigned(assigned)
            }
            19 => {
                let (_, ended) = choose(&mut self.duties, flags)?;
                Member::DutyEnded(pb::DutyEnded {
                    duty_id: ended.duty_id,
                })
            }
            20 if self.acting_head.is_none() => {
                self.acting_head = Some(member);
                Member::ActingHeadAppointed(pb::ActingHeadAppointed { member_id })
            }
            21 => {
                let member_id = text::<MemberId>(self.acting_head.take()?);
                Member::ActingHeadEnded(pb::ActingHeadEnded { member_id })
            }
            _ => return None,
        })
    }

    fn step_of_joining(&mut self, kind: u8, number: u8, flags: u8) -> Option<Member> {
        Some(match kind {
            15 => {
                let unit = pb::StagedUnit {
                    source_key: "5А".to_owned(),
                    label: "5А".to_owned(),
                };
                let invitation = pb::StagedInvitation {
                    member_id: text::<MemberId>(u32::from(number % MEMBERS)),
                    role: pb::Role::Pupil.into(),
                };
                let staged = pb::RosterImportStaged {
                    roster_import_id: text::<RosterImportId>(self.next_id()),
                    units: vec![unit],
                    invitations: vec![invitation],
                    first_change: 1,
                    last_change: i64::from(flags),
                };
                self.staged.push(staged.clone());
                Member::RosterImportStaged(staged)
            }
            22 => {
                let id = self.next_id();
                let requested = pb::JoinRequested {
                    join_request_id: text::<JoinRequestId>(id),
                    invitation_id: text::<InvitationId>(u32::from(number)),
                };
                self.requested.insert(id, requested.clone());
                Member::JoinRequested(requested)
            }
            _ => {
                let (_, requested) = choose(&mut self.requested, number)?;
                let decided = pb::JoinDecided {
                    join_request_id: requested.join_request_id,
                    invitation_id: requested.invitation_id,
                    member_id: String::new(),
                };
                self.decided.push(decided.clone());
                Member::JoinDecided(decided)
            }
        })
    }

    /// The events of snapshots of both services, as they build them.
    pub fn snapshots(&self) -> (Vec<Org>, Vec<Member>) {
        let organization = self.organization.clone().map(Org::OrganizationCreated);
        let units = self.units.values().cloned().map(Org::UnitCreated);
        let members = self.members.values().cloned().map(Member::MemberAdmitted);
        let head = self.acting_head.map(|member| {
            let member_id = text::<MemberId>(member);
            Member::ActingHeadAppointed(pb::ActingHeadAppointed { member_id })
        });
        let protected = self.protected.iter().map(|child| {
            Member::FamilyProtectionChanged(pb::FamilyProtectionChanged {
                child_id: text::<MemberId>(*child),
                protected: true,
            })
        });
        let members = members
            .chain(self.assignments.values().cloned().map(Member::AssignmentCreated))
            .chain(self.enrollments.values().cloned().map(Member::EnrollmentBegun))
            .chain(
                self.guardianships
                    .values()
                    .cloned()
                    .map(Member::GuardianshipEstablished),
            )
            .chain(self.suspensions.values().cloned().map(Member::MemberSuspended))
            .chain(self.duties.values().cloned().map(Member::DutyAssigned))
            .chain(self.limits.values().cloned().map(Member::RelationLimited))
            .chain(protected)
            .chain(head)
            .chain(self.requested.values().cloned().map(Member::JoinRequested))
            .chain(self.decided.iter().cloned().map(Member::JoinDecided))
            .chain(self.staged.iter().cloned().map(Member::RosterImportStaged));
        (organization.into_iter().chain(units).collect(), members.collect())
    }
}

/// Makes an event of each kind, then any others. Returns the events and the school after each of them.
pub fn run_school(steps: &[[u8; 4]]) -> (Vec<Event>, Vec<School>) {
    // Relations begin before they end; the kinds are numbered in this order. A second member exists.
    let each = (0..KINDS).map(|kind| [kind, 0, 1, 0b11]);
    let first = [[0, 0, 0, 0], [3, 0, 1, 1], [6, 0, 0, 0b1110], [6, 1, 0, 0b0111]];
    let (mut school, mut events, mut schools) = (School::default(), Vec::new(), Vec::new());
    for step in first.into_iter().chain(each).chain(steps.iter().copied()) {
        if let Some(event) = school.step(step) {
            events.push(event);
            schools.push(school.clone());
        }
    }
    let kinds: BTreeSet<u8> = events.iter().map(kind).collect();
    assert_eq!(kinds.len(), usize::from(KINDS), "{kinds:?}");
    (events, schools)
}
