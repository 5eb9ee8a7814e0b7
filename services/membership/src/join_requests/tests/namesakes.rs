//! A person who requests to join with the name of a member of the staff (case 33).
use super::*;

// The name is marked for those who decide, and refused by nobody. The member of the staff who requests
// another role is no namesake, and neither is a pupil who has the name of another pupil.
// Covers: F9 allowed, R28 allowed
on_both!(request_by_a_namesake_of_staff_is_marked, |database| async move {
    let school = School::open(database).await;
    let names = school.env.list(&school.administrator).await.unwrap();
    assert!(names.contains(&"Анна Петрова".to_owned()), "{names:?}");
    school.expected_pupil("Ян Котов", 1).await;
    // The letters а are Latin.
    let namesake = school.env.newcomer("+79161111111", "аннa  Петровa").await;
    let namesake = school.request(&namesake, Role::Pupil).await;
    let pupil = school.env.newcomer("+79162222222", "Ян Котов").await;
    let pupil = school.request(&pupil, Role::Pupil).await;
    let own = school.request(&school.administrator.person, Role::Staff).await;
    let listed = school.list(&school.administrator).await.unwrap();
    let marks = |id: &str| listed.iter().find(|row| row.id == id).unwrap().namesake_of_staff;
    assert_eq!(
        [&namesake, &pupil, &own].map(|id| marks(id)),
        [true, false, false]
    );
    let decided = school.decide(&school.teacher, &[(&namesake, true, "")]).await;
    assert_eq!(decided.unwrap()[0].state(), JoinRequestState::Accepted);
    school.env.close().await;
});
