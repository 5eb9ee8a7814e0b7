//! CSV files as rows with their lines.
use std::collections::BTreeMap;

use super::Problems;

/// Files that are read, and files of OneRoster and its relatives that are accepted and not read.
const KNOWN: [&str; 22] = [
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

/// The name under which a file is known, or `None`.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    KNOWN.into_iter().find(|known| *known == name)
}

/// A file with its header.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) file: &'static str,
    columns: BTreeMap<String, usize>,
    pub(crate) rows: Vec<Row>,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// Counted from 1, with the header.
    pub(crate) line: u32,
    cells: csv::StringRecord,
}

impl Table {
    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// A cell without blanks around it; empty where the file has no such column. Column names in lower case.
    pub(crate) fn cell<'a>(&self, row: &'a Row, column: &str) -> &'a str {
        let at = self.columns.get(column);
        at.and_then(|at| row.cells.get(*at)).unwrap_or_default().trim()
    }

    /// Refuses the set if one of these columns is missing.
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

/// The most rows of one file.
const MOST_ROWS: usize = 500_000;

/// Counts lines by byte offsets that grow. The lines that the reader counts are wrong where lines end in CR
/// and LF.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl Lines<'_> {
    /// The line on which a record at this offset begins. The offset may point at the end of the line before.
    fn of(&mut self, position: Option<&csv::Position>) -> u32 {
        let Some(byte) = position.and_then(|p| usize::try_from(p.byte()).ok()) else {
            return 0;
        };
        let rest = self.text.get(byte..).unwrap_or_default();
        let blank = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let start = (byte + blank).min(self.text.len()).max(self.at);
        let passed = self.text[self.at..start].iter().filter(|b| **b == b'\n').count();
        self.line = self
            .line
            .saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
        self.at = start;
        self.line
    }
}

/// Reads one file.
pub(crate) fn read(file: &'static str, bytes: &[u8], problems: &mut Problems) -> Table {
    let text = decode(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut lines = Lines {
        text: text.as_bytes(),
        at: 0,
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
    for (at, name) in header.iter().enumerate() {
        table.columns.entry(name.trim().to_lowercase()).or_insert(at);
    }
    for record in reader.records() {
        let cells = match record {
            Ok(cells) => cells,
            Err(error) => {
                problems.fatal(file, lines.of(error.position()), "", "the row cannot be read");
                continue;
            }
        };
        let line = lines.of(cells.position());
        if table.rows.len() == MOST_ROWS {
            problems.fatal(file, line, "", format!("a file has at most {MOST_ROWS} rows"));
            break;
        }
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if cells.len() == header.len() {
            table.rows.push(Row { line, cells });
        } else {
            let (is, want) = (cells.len(), header.len());
            problems.fatal(
                file,
                line,
                "",
                format!("the row has {is} fields, the header {want}"),
            );
        }
    }
    table
}
