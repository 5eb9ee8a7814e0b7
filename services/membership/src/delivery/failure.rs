//! The reasons why a message was not accepted. The code names no person and repeats no text, so that it
//! may be logged.

/// The failure of one attempt to hand a message over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A later attempt can succeed.
    Temporary(String),
    /// Another attempt would be refused as well.
    Permanent(String),
}
