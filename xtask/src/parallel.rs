//! Work on all processors.
use std::{
    num::NonZero,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Applies `work` to each item, on as many threads as there are processors, and returns the results in the
/// order of the items. After a failure no further item is begun; the first failure by position is returned.
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    map_on(processors, items, work)
}

fn map_on<T: Sync, R: Send>(
    workers: usize,
    items: &[T],
    work: impl Fn(&T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        while let Some((position, item)) = {
            let position = next.fetch_add(1, Ordering::Relaxed);
            items.get(position).map(|item| (position, item))
        } {
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.push((position, result));
        }
        done
    };
    let mut done: Vec<(usize, anyhow::Result<R>)> = thread::scope(|scope| {
        let running: Vec<_> = (0..workers.min(items.len())).map(|_| scope.spawn(take)).collect();
        running
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(position, _)| *position);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A check that [`all`] runs.
pub(crate) type Check<'a> = &'a (dyn Fn() -> anyhow::Result<()> + Sync);

/// Runs different checks as [`map`] does.
pub(crate) fn all(checks: &[Check<'_>]) -> anyhow::Result<()> {
    map(checks, |check| check()).map(drop)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() -> anyhow::Result<()> {
        let items: Vec<usize> = (0..100).collect();
        let doubled = map(&items, |item| Ok(item * 2))?;
        assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn first_failure_is_returned_and_ends_the_rest() {
        let begun = AtomicUsize::new(0);
        let items: Vec<usize> = (0..100).collect();
        let work = |item: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *item >= 3 {
                bail!("item {item}")
            }
            Ok(())
        };
        let failed = map(&items, work);
        assert_eq!(failed.unwrap_err().to_string(), "item 3");
        // Several threads begin as many items as they like before one of them has failed.
        begun.store(0, Ordering::Relaxed);
        assert!(map_on(1, &items, work).is_err());
        assert_eq!(begun.into_inner(), 4);
    }
}
