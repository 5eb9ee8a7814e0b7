use crate::FeedEvent;

/// The payloads that one reader does not receive.
pub(super) struct Withheld<P>(pub(super) Option<fn(&P) -> bool>);

impl<P> Withheld<P> {
    pub(super) fn covers(&self, payload: &P) -> bool {
        self.0.is_some_and(|is_withheld| is_withheld(payload))
    }

    pub(super) fn apply<E: FeedEvent<Payload = P>>(&self, event: &mut E) {
        if event.payload().is_some_and(|payload| self.covers(payload)) {
            event.clear_payload();
        }
    }
}
