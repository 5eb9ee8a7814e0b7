//! The kinds of calls: their organizers, their audience and their units (R50).
use parta_roster::UnitKind;

/// The kind of a call. The proto explains each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
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

/// The members who may organize calls of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Organizers {
    /// Class and subject teachers of the unit.
    UnitTeachers,
    /// Class and subject teachers of the unit, and members of the staff whose duty concerns the participants.
    UnitTeachersAndDuties,
    /// Class and subject teachers of the unit, and the administration.
    UnitTeachersAndAdministration,
    /// The class teacher of the unit.
    ClassTeacher,
    ClassTeacherAndAdministration,
    Administration,
    Staff,
    Teachers,
}

/// The audience of a call in addition to the staff of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Audience {
    /// The pupils of the unit.
    pub(crate) pupils: bool,
    /// The parents of its pupils.
    pub(crate) parents: bool,
}

/// The rule of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) organizers: Organizers,
    pub(crate) audience: Audience,
    /// Whether it may be held for a class or group.
    pub(crate) in_classes: bool,
    /// Whether it may be held for the staff room or a department.
    pub(crate) in_staff_units: bool,
    /// The name in announcements.
    pub(crate) name: &'static str,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    const ALL: [Self; 15] = [
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
    pub(crate) fn rule(self) -> Rule {
        use Organizers::{
            Administration, ClassTeacher, ClassTeacherAndAdministration, Staff, Teachers, UnitTeachers,
            UnitTeachersAndAdministration, UnitTeachersAndDuties,
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
            Self::Consultation => row(UnitTeachersAndDuties, FAMILIES, CLASSES, "Консультация"),
            Self::ClassHour => row(ClassTeacher, PUPILS, CLASSES, "Классный час"),
            Self::ParentMeeting => row(
                ClassTeacherAndAdministration,
                PARENTS,
                CLASSES,
                "Родительское собрание",
            ),
            Self::WorkingMeeting => row(Staff, STAFF, BOTH, "Рабочее совещание"),
            Self::PedagogicalCouncil => row(Administration, STAFF, STAFF_UNITS, "Педагогический совет"),
            Self::StudyGroupMeeting => row(UnitTeachersAndDuties, PUPILS, CLASSES, "Встреча учебной группы"),
            Self::ExtracurricularSession => row(UnitTeachersAndDuties, PUPILS, CLASSES, "Внеурочное занятие"),
            Self::Excursion => row(UnitTeachers, FAMILIES, CLASSES, "Экскурсия"),
            Self::Olympiad => row(UnitTeachersAndAdministration, PUPILS, CLASSES, "Олимпиада"),
            Self::Contest => row(UnitTeachersAndAdministration, FAMILIES, CLASSES, "Конкурс"),
            Self::SchoolEvent => row(Administration, FAMILIES, BOTH, "Школьное мероприятие"),
            Self::Course => row(Administration, STAFF, STAFF_UNITS, "Курсы"),
            Self::Seminar => row(Staff, STAFF, STAFF_UNITS, "Семинар"),
            Self::MethodicalAssociation => row(Teachers, STAFF, STAFF_UNITS, "Методическое объединение"),
        }
    }

    /// Whether pupils or parents belong to the audience. The organizer must then be allowed to meet minors.
    pub(crate) fn is_for_families(self) -> bool {
        let audience = self.rule().audience;
        audience.pupils || audience.parents
    }

    /// The numbers of the kinds with pupils or parents that are held for the whole organization.
    pub(crate) fn of_the_organization() -> impl Iterator<Item = i16> {
        let kinds = Self::ALL.into_iter();
        kinds
            .filter(|kind| kind.is_for_families() && kind.rule().in_staff_units)
            .map(Self::number)
    }

    /// Whether it may be held for a unit of this kind.
    pub(crate) fn suits(self, unit: UnitKind) -> bool {
        let rule = self.rule();
        if is_class(unit) {
            rule.in_classes
        } else {
            rule.in_staff_units
        }
    }

    /// The number in the database and in the API.
    pub(crate) fn number(self) -> i16 {
        Self::ALL
            .iter()
            .zip(1..)
            .find(|(k, _)| **k == self)
            .map_or(0, |(_, n)| n)
    }

    pub(crate) fn from_number(number: i32) -> Option<Self> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        Self::ALL.get(index).copied()
    }
}

/// Whether pupils are taught in units of this kind.
pub(crate) fn is_class(unit: UnitKind) -> bool {
    matches!(unit, UnitKind::Class | UnitKind::Group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_number_is_rejected() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(i32::from(kind.number())), Some(kind));
        }
        for number in [i32::MIN, -1, 0, 16, i32::MAX] {
            assert_eq!(Kind::from_number(number), None);
        }
    }
}
