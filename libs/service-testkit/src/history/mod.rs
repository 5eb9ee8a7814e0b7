//! Histories of a school in the feeds of org-registry and membership, and the check that a consumer comes to
//! the same rows in whichever order it applies the two feeds.
mod check;
mod school;

pub use check::{FeedsCommute, Part};
pub use school::{Event, KINDS, MEMBERS, School, UNITS, id, kind, run_school};

use parta_proto_membership::v1::membership_event::Payload as Member;
use parta_proto_org_registry::v1::org_registry_event::Payload as Org;

/// Consecutive events of one feed, which a consumer applies in one transaction.
#[derive(Debug, Clone)]
pub enum Batch {
    /// Events of org-registry.
    Orgs(Vec<Org>),
    /// Events of membership.
    Members(Vec<Member>),
}

/// A random generator that a seed repeats (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).expect("a small number");
        usize::try_from(self.next() % limit).expect("a small number")
    }
}

/// A history of a school in batches: those that each consumer has applied in the same order, and those whose
/// order differs.
struct History {
    known: Vec<Batch>,
    open: Vec<Batch>,
}

/// The largest number of events in a batch.
const BATCH: usize = 4;

impl History {
    /// Makes a history of events of all kinds. The feeds of both services go on from the same event.
    fn generate(random: &mut Random) -> Self {
        let count = 60 + random.below(80);
        let steps: Vec<[u8; 4]> = (0..count)
            .map(|_| random.next().to_le_bytes())
            .map(first_four)
            .collect();
        let (events, _) = run_school(&steps);
        // The organization exists, and each kind of event may be on either side.
        let cut = 1 + random.below(events.len() / 2);
        let (known, open) = events.split_at(cut);
        Self {
            known: batches(known, random),
            open: batches(open, random),
        }
    }

    /// Returns orders of the open batches, with their names. Each feed keeps its own order.
    fn orders(&self, random: &mut Random) -> Vec<(&'static str, Vec<&Batch>)> {
        let is_of_orgs = |batch: &&Batch| matches!(batch, Batch::Orgs(_));
        let orgs: Vec<&Batch> = self.open.iter().filter(is_of_orgs).collect();
        let members: Vec<&Batch> = self.open.iter().filter(|batch| !is_of_orgs(batch)).collect();
        let mut mixed = Vec::with_capacity(self.open.len());
        let (mut left, mut right) = (orgs.as_slice(), members.as_slice());
        while !left.is_empty() || !right.is_empty() {
            let take_left = right.is_empty() || (!left.is_empty() && random.below(2) == 0);
            let from = if take_left { &mut left } else { &mut right };
            if let Some((first, rest)) = from.split_first() {
                mixed.push(*first);
                *from = rest;
            }
        }
        vec![
            ("as it occurred", self.open.iter().collect()),
            ("org-registry first", [orgs.clone(), members.clone()].concat()),
            ("membership first", [members, orgs].concat()),
            ("in a random order", mixed),
        ]
    }
}

fn first_four([a, b, c, d, ..]: [u8; 8]) -> [u8; 4] {
    [a, b, c, d]
}

/// Puts consecutive events of one feed into batches of random lengths.
fn batches(events: &[Event], random: &mut Random) -> Vec<Batch> {
    let mut all = Vec::new();
    let mut room = 0;
    for event in events {
        let has_room = room > 0;
        match (all.last_mut(), event) {
            (Some(Batch::Orgs(batch)), Event::Org(payload)) if has_room => batch.push(payload.clone()),
            (Some(Batch::Members(batch)), Event::Member(payload)) if has_room => batch.push(payload.clone()),
            (_, Event::Org(payload)) => {
                all.push(Batch::Orgs(vec![payload.clone()]));
                room = 1 + random.below(BATCH);
            }
            (_, Event::Member(payload)) => {
                all.push(Batch::Members(vec![payload.clone()]));
                room = 1 + random.below(BATCH);
            }
        }
        room -= 1;
    }
    all
}
