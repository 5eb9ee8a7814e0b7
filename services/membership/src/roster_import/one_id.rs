//! A person with several ids in the source, whose records were joined (F10).
use std::collections::BTreeMap;

use super::{model::SourceLine, set::SourceRoster};

impl SourceRoster {
    /// The same roster in which `aliases`, ids of people with several ids in the source, are replaced by the
    /// one id that they stand for. A person leaves when the set marks all ids as deleted.
    pub(crate) fn with_one_id(&self, aliases: &BTreeMap<String, String>) -> Self {
        let id = |key: &String| aliases.get(key).unwrap_or(key).clone();
        let mut set = self.clone();
        for (key, person) in &self.people {
            if aliases.contains_key(key) {
                set.people.remove(key);
                set.people.entry(id(key)).or_insert_with(|| person.clone());
            }
        }
        let of_class = |rows: &BTreeMap<(String, String), SourceLine>| {
            let row = |((person, class), source_line): (&(String, String), &SourceLine)| {
                ((id(person), class.clone()), *source_line)
            };
            rows.iter().map(row).collect()
        };
        set.enrollments = of_class(&self.enrollments);
        set.ended_enrollments = of_class(&self.ended_enrollments);
        let assignments = self.assignments.iter();
        set.assignments = assignments
            .map(|((person, class, kind), source_line)| ((id(person), class.clone(), *kind), *source_line))
            .collect();
        let relations = self.guardianships.iter();
        set.guardianships = relations
            .map(|((guardian, child), source_line)| ((id(guardian), id(child)), *source_line))
            .collect();
        let leaves = |one: &String| {
            let mut others = aliases.iter().filter(|(_, of)| *of == one);
            self.leaving.contains_key(one) && others.all(|(alias, _)| self.leaving.contains_key(alias))
        };
        set.leaving
            .retain(|key, _| !aliases.contains_key(key) && leaves(key));
        set
    }
}
