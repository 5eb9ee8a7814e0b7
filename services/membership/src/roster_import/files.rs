//! Reads CSV files as rows with line numbers.
use std::collections::BTreeMap;

use super::Problems;

/// The accepted files of OneRoster and School Data Sync. Some of them are not read.
const FILE_NAMES: [&str; 22] = [
    "manifest.csv",
    "orgs.csv",
    "academicsessions.csv",
    "users.csv",
    "roles.csv",
    "courses.csv",
    "classes.csv",
    "enrollments.csv",
    "demographics.csv",
    "userprofiles.csv",
    "userresources.csv",
    "relationships.csv",
    "userflags.csv",
    "categories.csv",
    "classresources.csv",
    "courseresources.csv",
    "lineitems.csv",
    "lineitemlearningobjectiveids.csv",
    "lineitemscorescales.csv",
    "resources.csv",
    "results.csv",
    "scorescales.csv",
];

/// Returns the name of an accepted file in lower case, or `None`.
pub(crate) fn accepted_name(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    FILE_NAMES.into_iter().find(|accepted| *accepted == name)
}

/// The rows of a file, with the columns of its header.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) file: &'static str,
    columns: BTreeMap<String, usize>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug)]
pub(crate) struct Row {
    /// The line number, counted from 1. The header is line 1.
    pub(crate) line: u32,
    cells: csv::StringRecord,
}

impl Table {
    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// Returns a trimmed cell, or an empty text if the file has no such column. `column` is in lower case.
    pub(crate) fn cell<'a>(&self, row: &'a Row, column: &str) -> &'a str {
        let index = self.columns.get(column);
        index
            .and_then(|index| row.cells.get(*index))
            .unwrap_or_default()
            .trim()
    }

    /// Adds a fatal problem for each of these columns that is missing.
    pub(crate) fn require(&self, columns: &[&str], problems: &mut Problems) {
        for column in columns.iter().filter(|column| !self.has(column)) {
            problems.fatal(self.file, 1, column, "the column is missing");
        }
    }
}

/// Decodes UTF-8, with or without a byte-order mark, or else Windows-1251, in which every byte is valid.
fn decode(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => encoding_rs::WINDOWS_1251.decode(bytes).0.into_owned(),
    }
}

/// Largest number of rows in a file.
const MAX_ROWS: usize = 500_000;

/// Computes line numbers from increasing byte offsets, because the line numbers of the `csv` crate are wrong
/// if lines end with CRLF.
struct LineCounter<'a> {
    text: &'a [u8],
    /// The offset up to which lines were counted.
    offset: usize,
    /// The number of the line at `offset`.
    line: u32,
}

impl LineCounter<'_> {
    /// Returns the line on which a record at this offset begins. The offset may be the end of the previous
    /// line.
    fn line_at(&mut self, position: Option<&csv::Position>) -> u32 {
        let Some(byte) = position.and_then(|p| usize::try_from(p.byte()).ok()) else {
            return 0;
        };
        let rest = self.text.get(byte..).unwrap_or_default();
        let line_breaks = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let start = (byte + line_breaks).min(self.text.len()).max(self.offset);
        let passed = self.text[self.offset..start]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        self.line = self
            .line
            .saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
        self.offset = start;
        self.line
    }
}

pub(crate) fn read(file: &'static str, bytes: &[u8], problems: &mut Problems) -> Table {
    let text = decode(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut lines = LineCounter {
        text: text.as_bytes(),
        offset: 0,
        line: 1,
    };
    let mut table = Table {
        file,
        columns: BTreeMap::new(),
        rows: Vec::new(),
    };
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(_) => {
            problems.fatal(file, 1, "", "the header cannot be read");
            return table;
        }
    };
    for (index, name) in header.iter().enumerate() {
        table.columns.entry(name.trim().to_lowercase()).or_insert(index);
    }
    for record in reader.records() {
        let cells = match record {
            Ok(cells) => cells,
            Err(error) => {
                problems.fatal(
                    file,
                    lines.line_at(error.position()),
                    "",
                    "the row cannot be read",
                );
                continue;
            }
        };
        let line = lines.line_at(cells.position());
        if table.rows.len() == MAX_ROWS {
            problems.fatal(file, line, "", format!("a file has at most {MAX_ROWS} rows"));
            break;
        }
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if cells.len() == header.len() {
            table.rows.push(Row { line, cells });
        } else {
            let (found, expected) = (cells.len(), header.len());
            problems.fatal(
                file,
                line,
                "",
                format!("the row has {found} fields, the header {expected}"),
            );
        }
    }
    table
}
