//! A school that the roster has heard of.
use parta_ids::{AssignmentId, EnrollmentId, GuardianshipId, MemberId, OrgId, UnitId};
use parta_proto::parta::{
    membership::v1::{
        AssignmentKind, AssignmentMade, EnrollmentBegun, EnrollmentEnded, GuardianshipEstablished,
        MemberAdmitted, MemberState, Role, membership_event::Payload as Said,
    },
    org_registry::v1::{
        OrganizationCreated, OrganizationKind, Policies, UnitArchived, UnitCreated, UnitKind,
        org_registry_event::Payload as Registered,
    },
};

use crate::test_env::TestEnv;

/// A school with two classes and somebody of each kind.
#[derive(Clone, Copy)]
pub struct School {
    pub org: OrgId,
    pub staff_room: UnitId,
    pub class: UnitId,
    pub other_class: UnitId,
    pub administrator: MemberId,
    pub class_teacher: MemberId,
    pub teacher: MemberId,
    pub unverified: MemberId,
    /// Teaches in the other class only.
    pub stranger: MemberId,
    pub pupil: MemberId,
    /// Of the other class.
    pub other_pupil: MemberId,
    /// A pupil of the class without an account.
    pub expected: MemberId,
    /// Of `pupil`.
    pub parent: MemberId,
}

impl School {
    pub async fn found(test_env: &TestEnv) -> Self {
        let id = || test_env.env.id::<MemberId>();
        let unit = || test_env.env.id::<UnitId>();
        let school = Self {
            org: test_env.env.id(),
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
        test_env
            .register(
                school.org,
                Registered::OrganizationCreated(OrganizationCreated {
                    display_name: "Школа № 5".to_owned(),
                    kind: OrganizationKind::General.into(),
                    time_zone: "Europe/Moscow".to_owned(),
                    policies: Some(Self::policies()),
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
            test_env.register(school.org, Registered::UnitCreated(unit)).await;
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
                .admit(test_env, member, role, MemberState::Active, verified)
                .await;
        }
        school
            .admit(
                test_env,
                school.expected,
                Role::Pupil,
                MemberState::Expected,
                false,
            )
            .await;
        for (member, unit, kind) in [
            (school.class_teacher, school.class, AssignmentKind::ClassTeacher),
            (school.teacher, school.class, AssignmentKind::SubjectTeacher),
            (school.unverified, school.class, AssignmentKind::SubjectTeacher),
            (school.stranger, school.other_class, AssignmentKind::ClassTeacher),
        ] {
            let made = AssignmentMade {
                assignment_id: test_env.env.id::<AssignmentId>().to_string(),
                member_id: member.to_string(),
                unit_id: unit.to_string(),
                kind: kind.into(),
                expire_time: None,
            };
            test_env.hear(school.org, Said::AssignmentMade(made)).await;
        }
        school.enroll(test_env, school.pupil, school.class).await;
        school.enroll(test_env, school.expected, school.class).await;
        school
            .enroll(test_env, school.other_pupil, school.other_class)
            .await;
        let guardianship = GuardianshipEstablished {
            guardianship_id: test_env.env.id::<GuardianshipId>().to_string(),
            guardian_id: school.parent.to_string(),
            child_id: school.pupil.to_string(),
            confirmed: true,
        };
        test_env
            .hear(school.org, Said::GuardianshipEstablished(guardianship))
            .await;
        school
    }

    pub async fn admit(
        &self,
        test_env: &TestEnv,
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
        };
        test_env.hear(self.org, Said::MemberAdmitted(admitted)).await;
    }

    pub async fn enroll(&self, test_env: &TestEnv, pupil: MemberId, unit: UnitId) -> EnrollmentId {
        let id = test_env.env.id::<EnrollmentId>();
        let begun = EnrollmentBegun {
            enrollment_id: id.to_string(),
            member_id: pupil.to_string(),
            unit_id: unit.to_string(),
        };
        test_env.hear(self.org, Said::EnrollmentBegun(begun)).await;
        id
    }

    pub async fn end_enrollment(&self, test_env: &TestEnv, id: EnrollmentId) {
        test_env
            .hear(
                self.org,
                Said::EnrollmentEnded(EnrollmentEnded {
                    enrollment_id: id.to_string(),
                }),
            )
            .await;
    }

    pub async fn archive(&self, test_env: &TestEnv, unit: UnitId) {
        test_env
            .register(
                self.org,
                Registered::UnitArchived(UnitArchived {
                    unit_id: unit.to_string(),
                }),
            )
            .await;
    }

    fn policies() -> Policies {
        Policies {
            teacher_verification: 1,
            parent_inviters: 1,
            school_channel_open_to_families: true,
            unused_after: Some(prost_types::Duration {
                seconds: 14 * 86_400,
                nanos: 0,
            }),
            version: 1,
        }
    }
}
