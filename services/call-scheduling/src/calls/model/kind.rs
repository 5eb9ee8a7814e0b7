//! The kinds of calls: who may organize each, whom it is for, and in which units it is held (R50).
use parta_roster::UnitKind;

/// What a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Lesson,
    Consultation,
    ClassHour,
    ParentMeeting,
    WorkingMeeting,
    PedagogicalCouncil,
    StudyGroupMeeting,
    ExtracurricularSession,
    Excursion,
    Olympiad,
    Contest,
    SchoolEvent,
    Course,
    Seminar,
    MethodicalAssociation,
}

/// Who may organize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Organizers {
    /// Class and subject teachers of the unit.
    UnitTeachers,
    /// Those and the administration.
    UnitTeachersAndAdministration,
    /// The class teacher of the unit.
    ClassTeacher,
    /// The class teacher and the administration.
    ClassTeacherAndAdministration,
    /// The administration.
    Administration,
    /// Everybody of the staff.
    Staff,
    /// Every teacher.
    Teachers,
}

/// Whom a call is for beside the staff of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audience {
    /// The pupils of the unit.
    pub pupils: bool,
    /// The parents of its pupils.
    pub parents: bool,
}

/// The row of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Who may organize it.
    pub organizers: Organizers,
    /// Whom it is for.
    pub audience: Audience,
    /// Whether it may be held for a class or group.
    pub in_classes: bool,
    /// Whether it may be held for the staff room or a department.
    pub in_staff_units: bool,
    /// Name in announcements.
    pub name: &'static str,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Lesson,
        Self::Consultation,
        Self::ClassHour,
        Self::ParentMeeting,
        Self::WorkingMeeting,
        Self::PedagogicalCouncil,
        Self::StudyGroupMeeting,
        Self::ExtracurricularSession,
        Self::Excursion,
        Self::Olympiad,
        Self::Contest,
        Self::SchoolEvent,
        Self::Course,
        Self::Seminar,
        Self::MethodicalAssociation,
    ];

    /// The table of R50.
    pub fn rule(self) -> Rule {
        use Organizers::{
            Administration, ClassTeacher, ClassTeacherAndAdministration, Staff, Teachers, UnitTeachers,
            UnitTeachersAndAdministration,
        };
        let row = |organizers, (pupils, parents), (in_classes, in_staff_units), name| Rule {
            organizers,
            audience: Audience { pupils, parents },
            in_classes,
            in_staff_units,
            name,
        };
        const PUPILS: (bool, bool) = (true, false);
        const PARENTS: (bool, bool) = (false, true);
        const FAMILIES: (bool, bool) = (true, true);
        const STAFF: (bool, bool) = (false, false);
        const CLASSES: (bool, bool) = (true, false);
        const STAFF_UNITS: (bool, bool) = (false, true);
        const BOTH: (bool, bool) = (true, true);
        match self {
            Self::Lesson => row(UnitTeachers, PUPILS, CLASSES, "Урок"),
            Self::Consultation => row(UnitTeachers, FAMILIES, CLASSES, "Консультация"),
            Self::ClassHour => row(ClassTeacher, PUPILS, CLASSES, "Классный час"),
            Self::ParentMeeting => row(
                ClassTeacherAndAdministration,
                PARENTS,
                CLASSES,
                "Родительское собрание",
            ),
            Self::WorkingMeeting => row(Staff, STAFF, BOTH, "Рабочее совещание"),
            Self::PedagogicalCouncil => row(Administration, STAFF, STAFF_UNITS, "Педагогический совет"),
            Self::StudyGroupMeeting => row(UnitTeachers, PUPILS, CLASSES, "Встреча учебной группы"),
            Self::ExtracurricularSession => row(UnitTeachers, PUPILS, CLASSES, "Внеурочное занятие"),
            Self::Excursion => row(UnitTeachers, FAMILIES, CLASSES, "Экскурсия"),
            Self::Olympiad => row(UnitTeachersAndAdministration, PUPILS, CLASSES, "Олимпиада"),
            Self::Contest => row(UnitTeachersAndAdministration, FAMILIES, CLASSES, "Конкурс"),
            Self::SchoolEvent => row(Administration, FAMILIES, BOTH, "Школьное мероприятие"),
            Self::Course => row(Administration, STAFF, STAFF_UNITS, "Курсы"),
            Self::Seminar => row(Staff, STAFF, STAFF_UNITS, "Семинар"),
            Self::MethodicalAssociation => row(Teachers, STAFF, STAFF_UNITS, "Методическое объединение"),
        }
    }

    /// Whether it is for people who are not of the staff; then who organizes it must be allowed to meet minors.
    pub fn is_for_families(self) -> bool {
        let audience = self.rule().audience;
        audience.pupils || audience.parents
    }

    /// Whether it may be held for a unit of this kind.
    pub fn suits(self, unit: UnitKind) -> bool {
        let rule = self.rule();
        if is_class(unit) {
            rule.in_classes
        } else {
            rule.in_staff_units
        }
    }

    /// As stored.
    pub(crate) fn number(self) -> i16 {
        Self::ALL
            .iter()
            .zip(1..)
            .find(|(k, _)| **k == self)
            .map_or(0, |(_, n)| n)
    }

    /// As stored and as on the wire.
    pub(crate) fn of_number(number: i32) -> Option<Self> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        Self::ALL.get(place).copied()
    }
}

/// Whether pupils are taught in units of this kind.
pub fn is_class(unit: UnitKind) -> bool {
    matches!(unit, UnitKind::Class | UnitKind::Group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_numbers_of_kinds_are_kinds() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_number(i32::from(kind.number())), Some(kind));
        }
        for number in [i32::MIN, -1, 0, 16, i32::MAX] {
            assert_eq!(Kind::of_number(number), None);
        }
    }
}
