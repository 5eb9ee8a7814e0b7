//! The metrics of the database.
use std::sync::LazyLock;

use opentelemetry::{KeyValue, global, metrics::Counter};

/// Built at the first use, when telemetry is in place.
static UNKNOWN_VALUES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    global::meter("parta")
        .u64_counter("parta.storage.unknown_values")
        .with_description("Reads of a stored value that this build does not know")
        .build()
});

static SKIPPED_ROWS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    global::meter("parta")
        .u64_counter("parta.storage.skipped_rows")
        .with_description("Rows that background work skipped because their stored data is damaged")
        .build()
});

static LOST_CONNECTIONS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    global::meter("parta")
        .u64_counter("parta.storage.lost_connections")
        .with_description("Connections to PostgreSQL that were given up because no reply arrived")
        .build()
});

/// Counts a connection that was given up because its server did not reply.
pub(crate) fn count_lost_connection() {
    LOST_CONNECTIONS.add(1, &[]);
}

/// Counts a row of a table that background work skips because its stored data is damaged.
pub fn count_skipped_row(table: &'static str) {
    SKIPPED_ROWS.add(1, &[KeyValue::new("table", table)]);
}

/// Counts a read of a value that this build does not know, by its `table.column`. Ids and values are no
/// attributes.
pub(crate) fn count_unknown_value(column: &'static str) {
    let (table, column) = column.split_once('.').unwrap_or(("", column));
    let attributes = [KeyValue::new("table", table), KeyValue::new("column", column)];
    UNKNOWN_VALUES.add(1, &attributes);
}
