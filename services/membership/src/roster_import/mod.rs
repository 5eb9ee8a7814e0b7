//! Roster imports: taking over a roster from OneRoster CSV files (R31).
//!
//! Owns the tables `roster_import`, `roster_import_change`, `roster_import_problem`, `roster_person` and
//! `roster_class`. [`files`] and [`set`] know the format and [`plan`] the difference; neither touches the
//! database. [`run`] carries a plan out, one batch of its rows per transaction, so that a crash at any point
//! resumes where it stopped. Invariants: a set that is refused changes nothing; an import that was started is
//! carried out once; imports of one organization run one after the other.

mod error;
mod events;
mod files;
mod grpc;
mod model;
mod observe;
mod operations;
mod plan;
mod policy;
mod run;
mod set;
mod storage;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use grpc::RosterImports;
pub(crate) use observe::ClassesMade;
pub(crate) use policy::import;
pub(crate) use run::{JOB, Runner};

/// A row or a file that does not follow the specification. Never quotes the text of a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: String,
    pub(crate) description: String,
    pub(crate) fatal: bool,
}

/// Collects at most [`MOST_PROBLEMS`] problems.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

const MOST_PROBLEMS: usize = 5_000;

impl Problems {
    fn add(&mut self, file: &str, line: u32, column: &str, description: impl Into<String>, fatal: bool) {
        if self.0.len() < MOST_PROBLEMS || fatal && !self.refused() {
            self.0.push(Problem {
                file: file.to_owned(),
                line,
                column: column.to_owned(),
                description: description.into(),
                fatal,
            });
        }
    }

    /// Notes a problem for which the set is refused.
    fn fatal(&mut self, file: &str, line: u32, column: &str, description: impl Into<String>) {
        self.add(file, line, column, description, true);
    }

    /// Notes a problem for which the row is skipped.
    fn passed(&mut self, file: &str, line: u32, column: &str, description: impl Into<String>) {
        self.add(file, line, column, description, false);
    }

    pub(crate) fn refused(&self) -> bool {
        self.0.iter().any(|problem| problem.fatal)
    }
}
