//! Round trips to PostgreSQL.
use parta_database::{DatabaseConfig, Db};
use parta_testkit::{StatementCounter, on_postgres};

use crate::{
    counter::{insert, migrations, value},
    support::{Store, secrets},
};

// A read costs one round trip, and a transaction two more than its statements: no ping checks the connection.
on_postgres!(
    no_additional_round_trips_are_made,
    "SQLite is called in the process: there are no round trips",
    |database| async move {
        const TIMES: usize = 20;
        let store = Store::open(&database, migrations()).await;
        let counter = StatementCounter::to(database.url()).await;
        let config = DatabaseConfig::new(counter.url());
        let db = Db::connect(&config, "test", secrets(), store.db.env().clone())
            .await
            .unwrap();
        let read = async || value(db.conn(), "nothing").await;
        let write = async |name: &str| {
            db.write(|tx| async move { insert(&tx, name).await })
                .await
                .unwrap();
        };
        // Connects and prepares the statements.
        read().await;
        write("first").await;

        let before = counter.count();
        for _ in 0..TIMES {
            read().await;
        }
        let between = counter.count();
        assert_eq!(between - before, TIMES, "round trips of {TIMES} reads");
        for n in 0..TIMES {
            write(&format!("n {n}")).await;
        }
        let after = counter.count();
        assert_eq!(after - between, 3 * TIMES, "round trips of {TIMES} writes");
        db.close().await;
    }
);
