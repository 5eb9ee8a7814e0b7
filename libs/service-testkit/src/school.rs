//! A school in the roster: two classes, their teachers, pupils and parents.
use parta_ids::{AssignmentId, EnrollmentId, GuardianshipId, MemberId, OrgId, UnitId};
use parta_proto_membership::v1::{
    AssignmentCreated, AssignmentKind, EnrollmentBegun, EnrollmentEnded, GuardianshipEstablished,
    GuardianshipKind, MemberAdmitted, MemberState, Role, membership_event::Payload as Membership,
};
use parta_proto_org_registry::v1::{
    OrganizationCreated, OrganizationKind, Policies, PoliciesChanged, UnitArchived, UnitCreated, UnitKind,
    org_registry_event::Payload as OrgRegistry,
};

use crate::ServiceEnv;

/// The ids of the school.
#[derive(Clone, Copy)]
pub struct School {
    /// The organization, in Moscow, which requires verification of teachers.
    pub org: OrgId,
    /// The staff room.
    pub staff_room: UnitId,
    /// The class 5А.
    pub class: UnitId,
    /// The class 6Б.
    pub other_class: UnitId,
    /// An administrator.
    pub administrator: MemberId,
    /// The class teacher of 5А, verified.
    pub class_teacher: MemberId,
    /// A subject teacher of 5А, verified.
    pub teacher: MemberId,
    /// A subject teacher of 5А without verification.
    pub unverified: MemberId,
    /// The class teacher of 6Б, verified.
    pub stranger: MemberId,
    /// A pupil of 5А.
    pub pupil: MemberId,
    /// A pupil of 6Б.
    pub other_pupil: MemberId,
    /// A pupil of 5А without an account.
    pub expected: MemberId,
    /// The confirmed parent of `pupil`.
    pub parent: MemberId,
}

impl School {
    /// Adds the school to the roster.
    pub async fn create(env: &ServiceEnv) -> Self {
        let id = || env.env.id::<MemberId>();
        let unit = || env.env.id::<UnitId>();
        let school = Self {
            org: env.env.id(),
            staff_room: unit(),
            class: unit(),
            other_class: unit(),
            administrator: id(),
            class_teacher: id(),
            teacher: id(),
            unverified: id(),
            stranger: id(),
            pupil: id(),
            other_pupil: id(),
            expected: id(),
            parent: id(),
        };
        env.apply_org_registry(
            school.org,
            OrgRegistry::OrganizationCreated(OrganizationCreated {
                display_name: "Школа № 5".to_owned(),
                kind: OrganizationKind::General.into(),
                time_zone: "Europe/Moscow".to_owned(),
                policies: Some(school.policies(false)),
            }),
        )
        .await;
        for (unit, kind, label) in [
            (school.staff_room, UnitKind::StaffRoom, "Учительская"),
            (school.class, UnitKind::Class, "5А"),
            (school.other_class, UnitKind::Class, "6Б"),
        ] {
            let unit = UnitCreated {
                unit_id: unit.to_string(),
                kind: kind.into(),
                label: label.to_owned(),
                ..Default::default()
            };
            env.apply_org_registry(school.org, OrgRegistry::UnitCreated(unit))
                .await;
        }
        for (member, role) in [
            (school.administrator, Role::Administrator),
            (school.class_teacher, Role::Teacher),
            (school.teacher, Role::Teacher),
            (school.unverified, Role::Teacher),
            (school.stranger, Role::Teacher),
            (school.pupil, Role::Pupil),
            (school.other_pupil, Role::Pupil),
            (school.parent, Role::Parent),
        ] {
            let verified = role == Role::Teacher && member != school.unverified;
            school
                .admit(env, member, role, MemberState::Active, verified)
                .await;
        }
        school
            .admit(env, school.expected, Role::Pupil, MemberState::Expected, false)
            .await;
        for (member, unit, kind) in [
            (school.class_teacher, school.class, AssignmentKind::ClassTeacher),
            (school.teacher, school.class, AssignmentKind::SubjectTeacher),
            (school.unverified, school.class, AssignmentKind::SubjectTeacher),
            (school.stranger, school.other_class, AssignmentKind::ClassTeacher),
        ] {
            let made = AssignmentCreated {
                assignment_id: env.env.id::<AssignmentId>().to_string(),
                member_id: member.to_string(),
                unit_id: unit.to_string(),
                kind: kind.into(),
                substitution: false,
                begin_time: None,
            };
            env.apply_membership(school.org, Membership::AssignmentCreated(made))
                .await;
        }
        school.enroll(env, school.pupil, school.class).await;
        school.enroll(env, school.expected, school.class).await;
        school.enroll(env, school.other_pupil, school.other_class).await;
        let guardianship = GuardianshipEstablished {
            guardianship_id: env.env.id::<GuardianshipId>().to_string(),
            guardian_id: school.parent.to_string(),
            child_id: school.pupil.to_string(),
            confirmed: true,
            kind: GuardianshipKind::Parent.into(),
            unit_rooms_only: false,
            begin_time: None,
        };
        env.apply_membership(school.org, Membership::GuardianshipEstablished(guardianship))
            .await;
        school
    }

    /// Adds a member to the roster, or replaces the state of an existing member.
    pub async fn admit(
        &self,
        env: &ServiceEnv,
        member: MemberId,
        role: Role,
        state: MemberState,
        verified: bool,
    ) {
        let admitted = MemberAdmitted {
            member_id: member.to_string(),
            state: state.into(),
            roles: vec![role.into()],
            teacher_verified: verified,
            invitation_id: String::new(),
            ..Default::default()
        };
        env.apply_membership(self.org, Membership::MemberAdmitted(admitted))
            .await;
    }

    /// Enrolls a pupil in a class.
    pub async fn enroll(&self, env: &ServiceEnv, pupil: MemberId, unit: UnitId) -> EnrollmentId {
        let id = env.env.id::<EnrollmentId>();
        let begun = EnrollmentBegun {
            enrollment_id: id.to_string(),
            member_id: pupil.to_string(),
            unit_id: unit.to_string(),
            begin_time: None,
        };
        env.apply_membership(self.org, Membership::EnrollmentBegun(begun))
            .await;
        id
    }

    /// Ends an enrollment.
    pub async fn end_enrollment(&self, env: &ServiceEnv, id: EnrollmentId) {
        let ended = EnrollmentEnded {
            enrollment_id: id.to_string(),
        };
        env.apply_membership(self.org, Membership::EnrollmentEnded(ended))
            .await;
    }

    /// Archives a unit.
    pub async fn archive(&self, env: &ServiceEnv, unit: UnitId) {
        env.apply_org_registry(
            self.org,
            OrgRegistry::UnitArchived(UnitArchived {
                unit_id: unit.to_string(),
                ..Default::default()
            }),
        )
        .await;
    }

    /// Sets whether every verified teacher of a class may invite parents, or only the class teacher.
    pub async fn let_class_staff_invite_parents(&self, env: &ServiceEnv, allowed: bool) {
        let changed = PoliciesChanged {
            policies: Some(self.policies(allowed)),
        };
        env.apply_org_registry(self.org, OrgRegistry::PoliciesChanged(changed))
            .await;
    }

    fn policies(&self, class_staff: bool) -> Policies {
        Policies {
            teacher_verification: 1,
            parent_inviters: if class_staff { 2 } else { 1 },
            school_channel_open_to_families: true,
            unused_after: Some(prost_types::Duration {
                seconds: 14 * 86_400,
                nanos: 0,
            }),
            version: 1,
            history_for_newcomers: 1,
        }
    }
}
