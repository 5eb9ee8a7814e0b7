use chrono::NaiveDate;

/// An order or decision on which an act rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) number: String,
    pub(crate) date: NaiveDate,
    pub(crate) text: String,
}
