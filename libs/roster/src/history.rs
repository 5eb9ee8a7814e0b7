//! The policy `history_for_newcomers` (F22).
use parta_proto_org_registry::v1 as org_registry;

use crate::unit_kind::is_sent;

/// Since when pupils and parents read what was written before they came. The order is that of how much they
/// read.
///
/// Unknown in a feed event: the stricter reading. A value that this build does not know is read as
/// [`Self::FromJoining`]. An earlier build of org-registry sends none, which is the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HistoryForNewcomers {
    /// From the joining.
    FromJoining,
    /// From the enrollment or the recorded relation.
    #[default]
    FromEnrollment,
    /// Everything.
    Whole,
}

impl HistoryForNewcomers {
    /// All values.
    pub const ALL: [Self; 3] = [Self::FromJoining, Self::FromEnrollment, Self::Whole];

    /// Returns the number in databases and in the API.
    pub fn number(self) -> i32 {
        org_registry::HistoryForNewcomers::from(self).into()
    }

    /// Decodes a number; `None` for one that this build does not know.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.number() == number)
    }

    /// Decodes the number of an event.
    pub(crate) fn of_event(number: i32) -> Self {
        let unknown = if is_sent(number) {
            Self::FromJoining
        } else {
            Self::default()
        };
        Self::from_number(number).unwrap_or(unknown)
    }
}

impl From<HistoryForNewcomers> for org_registry::HistoryForNewcomers {
    fn from(value: HistoryForNewcomers) -> Self {
        match value {
            HistoryForNewcomers::FromJoining => Self::FromJoining,
            HistoryForNewcomers::FromEnrollment => Self::FromEnrollment,
            HistoryForNewcomers::Whole => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_value_of_an_event_is_read_as_from_joining() {
        let read = [0, 1, 2, 3, 30].map(HistoryForNewcomers::of_event);
        use HistoryForNewcomers::{FromEnrollment, FromJoining, Whole};
        assert_eq!(
            read,
            [FromEnrollment, FromEnrollment, FromJoining, Whole, FromJoining]
        );
    }
}
