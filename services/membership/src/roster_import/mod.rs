//! Roster imports: import a roster from OneRoster CSV files (R31).
//!
//! Owns the tables `roster_import`, `roster_import_change`, `roster_import_problem`, `roster_person` and
//! `roster_class`. [`files`] and [`set`] read the format, and [`plan`] computes the changes; neither uses the
//! database. [`run`] applies the changes in batches, one transaction each, so that an import resumes after a
//! crash. Invariants: a refused set of files changes nothing; a started import is applied once; imports of
//! one organization run one after the other; a mass change is made only if the request names its numbers;
//! nothing is decided for the person who starts it, and nothing begins again that a decision ended; each row
//! that has no effect is reported.

mod apply;
mod apply_runs;
mod decisions;
mod error;
mod events;
mod files;
mod grpc;
mod limits;
mod mass;
mod model;
mod observe;
mod one_id;
mod operations;
mod own_matter;
mod plan;
mod policy;
mod purge;
mod run;
mod set;
mod storage;
#[cfg(test)]
pub(crate) mod tests;
mod upload;

pub(crate) use events::snapshot;
pub(crate) use grpc::RosterImports;
pub(crate) use limits::JOB;
pub(crate) use observe::ClassCreatedObserver;
pub(crate) use policy::rules;
pub(crate) use purge::purge;
pub(crate) use run::{JOB_LIMITS, Runner};

/// A violation of the specification in a file or row. The description never quotes the text of a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: String,
    pub(crate) description: String,
    pub(crate) fatal: bool,
}

/// Collects at most [`MAX_PROBLEMS`] problems.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

const MAX_PROBLEMS: usize = 5_000;

impl Problems {
    fn add(&mut self, file: &str, line: u32, column: &str, description: impl Into<String>, fatal: bool) {
        if self.0.len() < MAX_PROBLEMS || fatal && !self.refused() {
            self.0.push(Problem {
                file: file.to_owned(),
                line,
                column: column.to_owned(),
                description: description.into(),
                fatal,
            });
        }
    }

    /// Adds a problem for which the whole set is refused.
    fn fatal(&mut self, file: &str, line: u32, column: &str, description: impl Into<String>) {
        self.add(file, line, column, description, true);
    }

    /// Adds a problem for which only the row is skipped.
    fn skipped(&mut self, file: &str, line: u32, column: &str, description: impl Into<String>) {
        self.add(file, line, column, description, false);
    }

    pub(crate) fn refused(&self) -> bool {
        self.0.iter().any(|problem| problem.fatal)
    }
}
