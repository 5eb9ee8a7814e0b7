//! Runs the scenario of `parta demo` and checks its output.
use parta::client::Endpoints;
use parta_integration_tests::{Suite, on_both_topologies};

fn endpoints(suite: &Suite) -> Endpoints {
    Endpoints {
        own: suite.addresses().clone(),
        ..Endpoints::default()
    }
}

on_both_topologies!(
    // Covers: R1 allowed, R2 allowed, R13 allowed, R14 allowed, R14 refused, R15 allowed, R15 refused
    // Covers: R16 allowed, R19 allowed, R19 refused, R22 allowed, R25 allowed, R26 allowed, R27 allowed
    // Covers: R28 refused, R33 allowed, R33 refused, R35 allowed, R35 refused, R38 allowed, R38 refused
    // Covers: R39 allowed, R43 allowed, R31 allowed, R49 allowed, R50 allowed, R51 allowed, R55 allowed
    // Covers: R59 refused, R23 allowed, R23 refused, R27 refused, R37 refused, R82 allowed, R82 refused
    // Covers: F1 refused, F2 refused, F3 allowed, F3 refused, F4 allowed, F4 refused, F5 allowed, F5 refused
    // Covers: F6 refused, F13 allowed, F13 refused
    demo_scenario_follows_the_regulation,
    |suite: Suite| async move {
        let key = std::fs::read_to_string(suite.keys().join("operator.key")).unwrap();
        // Run twice on the same data: each run creates new people.
        for _ in 0..2 {
            let steps = parta::demo::play(&endpoints(&suite), &key, |_| ()).await.unwrap();
            assert!(steps.len() >= 30);
        }
    }
);
