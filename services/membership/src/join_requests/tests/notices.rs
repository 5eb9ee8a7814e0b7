//! The notice to a person whose request was decided (F9).
use super::*;

const PHONE: &str = "+79161111111";
const DECIDED: &str = "по вашей заявке на вступление принято решение";

impl School {
    async fn notices(&self, phone: &str, text: &str) -> usize {
        self.env.run_due_jobs().await;
        let messages = self.env.messages(phone).await;
        messages.iter().filter(|message| message.contains(text)).count()
    }
}

// The notice says only that the state changed, and is the same for both decisions. A person who
// withdrew the request is not notified.
// Covers: F9 allowed, F9 refused
on_both!(
    person_is_notified_that_a_request_was_decided,
    |database| async move {
        let school = School::open(database).await;
        let person = school.env.newcomer(PHONE, "Анна Котова").await;
        let mut texts = Vec::new();
        for (count, accept) in [(1, false), (2, true)] {
            let id = school.request(&person, Role::Staff).await;
            assert_eq!(school.notices(PHONE, DECIDED).await, count - 1);
            school
                .decide(&school.administrator, &[(&id, accept, "")])
                .await
                .unwrap();
            for (payload, _) in school.env.jobs().await {
                assert!(payload.contains(&id) && !payload.contains("Котова"), "{payload}");
            }
            assert_eq!(school.notices(PHONE, DECIDED).await, count);
            texts.push(school.env.messages(PHONE).await.remove(0));
        }
        assert_eq!(texts[0], texts[1]);
        assert!(texts[0].contains("Школа № 5: your request to join was decided"));

        let pupil = school.env.newcomer("+79162222222", "Ян Котов").await;
        let id = school.request(&pupil, Role::Pupil).await;
        school.decide(&school.teacher, &[(&id, true, "")]).await.unwrap();
        assert_eq!(school.notices("+79162222222", DECIDED).await, 0);
        assert_eq!(school.notices("+79162222222", "для вас есть сообщение").await, 1);

        let other = school.env.newcomer("+79164444444", "Пётр Заяц").await;
        let id = school.request(&other, Role::Staff).await;
        school.withdraw(&other, &id).await.unwrap();
        assert_eq!(school.notices("+79164444444", DECIDED).await, 0);
        school.env.close().await;
    }
);
