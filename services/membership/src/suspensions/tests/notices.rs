//! Notices about suspensions: who gets one, and who no longer does when the job runs.
use super::*;

const ADMINISTRATOR: &str = "+79160000001";
const HEAD: &str = "+79161111111";
const DEPUTY: &str = "+79162222222";
const TEACHER: &str = "+79163333333";

impl School {
    /// Returns the number of notices that an address has received as a message with this text.
    async fn notices(&self, phone: &str, text: &str) -> usize {
        let messages = self.test_env.messages(phone).await;
        messages.iter().filter(|message| message.contains(text)).count()
    }

    async fn deliver(&self) {
        self.test_env.run_due_jobs().await;
        assert_eq!(self.test_env.jobs().await, []);
    }
}

const SUSPENDED: &str = "ваш доступ в Parta приостановлен";
const TO_DECIDE: &str = "Подтвердите или отмените";

// The suspended member is notified, and so are those who may decide: not the one who suspended, nor the
// suspended one. The jobs and the notices to those who decide name nobody.
// Covers: R82 allowed, F5 allowed
on_both!(
    suspension_notifies_those_whom_it_concerns,
    |database| async move {
        let school = School::open(database).await;
        let suspension = school
            .suspend(&school.head, &school.administrator, &[])
            .await
            .unwrap();
        let jobs = school.test_env.jobs().await;
        assert_eq!(jobs.len(), 2);
        for (payload, _) in &jobs {
            let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
            assert_eq!(payload["suspension_id"], suspension.id);
            assert!(payload.get("decider_id").is_none_or(serde_json::Value::is_null));
        }
        school.deliver().await;
        assert_eq!(school.notices(ADMINISTRATOR, SUSPENDED).await, 1);
        assert_eq!(
            school
                .notices(ADMINISTRATOR, "your access to Parta is suspended")
                .await,
            1
        );
        assert_eq!(school.notices(ADMINISTRATOR, "Служебная проверка").await, 0);
        assert_eq!(school.notices(DEPUTY, TO_DECIDE).await, 1);
        assert_eq!(school.notices(DEPUTY, "Confirm or lift the suspension").await, 1);
        assert_eq!(school.notices(DEPUTY, "Петрова").await, 0);
        for phone in [HEAD, TEACHER, ADMINISTRATOR] {
            assert_eq!(school.notices(phone, TO_DECIDE).await, 0, "{phone}");
        }
        school.test_env.close().await;
    }
);

// A suspension that was lifted before the job ran notifies nobody. One that was confirmed causes no
// notice to decide. A member of the administration who was suspended or has left meanwhile gets none.
// Covers: R82 refused, F5 refused, F18 refused
on_both!(notice_is_judged_when_it_is_sent, |database| async move {
    let school = School::open(database).await;
    let (administrator, head) = (&school.administrator, &school.head);
    let lifted = school.suspend(head, &school.teacher, &[]).await.unwrap();
    school.lift(administrator, &lifted).await.unwrap();
    school.deliver().await;
    let confirmed = school.suspend(head, &school.teacher, &[]).await.unwrap();
    school.confirm(administrator, &confirmed).await.unwrap();
    school.deliver().await;
    assert_eq!(school.notices(TEACHER, SUSPENDED).await, 1);
    for phone in [ADMINISTRATOR, DEPUTY] {
        assert_eq!(school.notices(phone, TO_DECIDE).await, 0, "{phone}");
    }
    school.lift(administrator, &confirmed).await.unwrap();
    let of_head = school.suspend(administrator, head, &[]).await.unwrap();
    let of_deputy = school.suspend(administrator, &school.deputy, &[]).await.unwrap();
    school.deliver().await;
    for phone in [HEAD, DEPUTY] {
        let counts = [
            school.notices(phone, SUSPENDED).await,
            school.notices(phone, TO_DECIDE).await,
        ];
        assert_eq!(counts, [1, 0], "{phone}");
    }
    assert_ne!(of_head.id, of_deputy.id);
    // A member who leaves while suspended is not notified.
    let other = school
        .test_env
        .join("+79164444444", "Пётр Заяц", Role::Staff, |_| ())
        .await;
    school.suspend(administrator, &other, &[]).await.unwrap();
    school.remove(administrator, &other, "Уволен").await.unwrap();
    school.deliver().await;
    assert_eq!(school.notices("+79164444444", SUSPENDED).await, 0);
    school.test_env.close().await;
});

// A notice to a pupil has no content, because others may read the phone.
// Covers: R82 allowed, F11 allowed
on_both!(notice_to_a_pupil_has_no_content, |database| async move {
    let school = School::open(database).await;
    let phone = "+79164444444";
    let pupil = school.test_env.join_pupil(phone, "Ян Котов", 1).await;
    school.suspend(&school.head, &pupil, &[]).await.unwrap();
    school.deliver().await;
    assert_eq!(school.notices(phone, "для вас есть сообщение").await, 1);
    assert_eq!(school.notices(phone, "приостановлен").await, 0);
    school.test_env.close().await;
});
