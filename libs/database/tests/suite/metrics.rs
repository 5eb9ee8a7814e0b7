//! The metrics of stored values that this build does not know, and of rows that work skips.
use parta_database::StorageError;
use parta_testkit::Metrics;

/// Each read of an unknown value is counted by its table and column, without ids and without the value. A
/// skipped row is counted by its table.
#[test]
fn unknown_values_and_skipped_rows_are_counted() {
    let metrics = Metrics::record();
    for value in [7, 8] {
        let error = StorageError::unknown_value("unit.kind", value);
        assert!(error.to_string().contains("unit.kind"), "{error}");
    }
    parta_database::count_skipped_row("chat");
    let expected = [
        "parta.storage.skipped_rows table=chat 1",
        "parta.storage.unknown_values column=kind,table=unit 2",
    ];
    assert_eq!(metrics.lines("parta.storage."), expected);
}
