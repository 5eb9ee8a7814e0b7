//! The members of test schools join through the public API, in both topologies.
use parta_integration_tests::{Suite, on_both_topologies};
use serde_json::json;

on_both_topologies!(
    /// Covers: R16 allowed, R27 allowed, R33 allowed
    class_gets_its_members_by_links, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Мария Кузнецова", &class).await;
        let pupil = school.pupil(&leader, "Пётр Сидоров", &class).await;
        let parent = school.parent(&leader, "Ольга Сидорова", &pupil, &class).await;
        for (who, chats) in [(&pupil, 3), (&parent, 3), (&leader, 6)] {
            let list = who.client.must("ChatService/ListChats", json!({})).await;
            assert_eq!(list["chats"].as_array().map(Vec::len), Some(chats), "{list:#}");
        }
    }
);
