//! Taking over a roster from OneRoster CSV files (R31): read, understand, compare, carry out.
//!
//! [`files`] and [`set`] know the format, [`plan`] the difference; neither touches the database. [`run`] carries a plan out,
//! a batch of its rows a transaction, so that a crash at any point goes on where it stopped.
pub(crate) mod files;
mod grpc;
pub(crate) mod observe;
pub(crate) mod operations;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod set;
pub(crate) mod storage;
#[cfg(test)]
mod tests;

/// A row or a file that is not as the specification wants it. Never quotes what a cell holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: String,
    pub(crate) description: String,
    pub(crate) fatal: bool,
}

/// Collects problems, a bounded number: nobody reads the ten thousandth.
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

    /// The set is refused because of it.
    fn fatal(&mut self, file: &str, line: u32, column: &str, description: impl Into<String>) {
        self.add(file, line, column, description, true);
    }

    /// The row is passed over.
    fn passed(&mut self, file: &str, line: u32, column: &str, description: impl Into<String>) {
        self.add(file, line, column, description, false);
    }

    pub(crate) fn refused(&self) -> bool {
        self.0.iter().any(|problem| problem.fatal)
    }
}
