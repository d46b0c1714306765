//! Which connections may be closed to make room, and the search for them.

/// What a connection is, where it may be closed to make room; the cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum EvictionClass {
    /// Between requests, or it never sent any.
    Idle,
    /// Its head does not come.
    Head,
    /// It has its answer and does not go.
    Linger,
    /// Its body, or the taking of its download, has used up half of the time that it has without a byte.
    Slow,
}

impl EvictionClass {
    pub(in crate::runtime) const ALL: [Self; 4] = [Self::Idle, Self::Head, Self::Linger, Self::Slow];
}

/// A search for connections to close. It goes over all loops for one kind, then for the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    /// How many stops it has had.
    pub(super) stops: usize,
    /// How many are still to be found.
    pub(super) wanted: usize,
}
