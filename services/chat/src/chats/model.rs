use crate::entries::ChatKind;

/// At most this many characters in the title of a chat.
pub(crate) const TITLE_MAX: usize = 200;
/// At most this many members in one request.
pub(crate) const MAX_NAMED: usize = 100;
/// At most this many participants in a custom chat.
pub(crate) const MAX_PARTICIPANTS: usize = 500;

/// The title in Russian and in English (R62). `label` is the label of the class of a class chat, otherwise
/// the title that the chat was given.
pub(crate) fn titles(kind: ChatKind, label: &str) -> (String, String) {
    match kind {
        ChatKind::SchoolChannel => ("Общешкольный канал".into(), "School channel".into()),
        ChatKind::StaffChannel => ("Сотрудники".into(), "Staff".into()),
        ChatKind::StaffRoom => ("Учительская".into(), "Staff room".into()),
        ChatKind::ParentsChannel => ("Родителям".into(), "For parents".into()),
        ChatKind::PupilsChannel => ("Ученикам".into(), "For pupils".into()),
        ChatKind::ClassPupils => (label.to_owned(), label.to_owned()),
        ChatKind::ClassParents => (format!("{label}. Родители"), format!("{label}. Parents")),
        ChatKind::ClassTeachers => (format!("{label}. Учителя"), format!("{label}. Teachers")),
        ChatKind::Custom | ChatKind::Direct => (label.to_owned(), label.to_owned()),
    }
}
