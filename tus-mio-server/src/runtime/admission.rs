//! Who may connect: how many connections there may be, in all and from one address.

use std::{collections::HashMap, net::IpAddr, sync::Mutex};

use crate::cidr::IpNet;
use crate::sync::lock;

/// How many connections there may be.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub all: usize,
    /// From one address; 0 for no limit.
    pub each: usize,
    /// Whose connections are not counted there.
    pub uncounted: Vec<IpNet>,
    /// How many bits of an IPv4 and of an IPv6 address tell one from another.
    pub prefixes: (u8, u8),
}

/// The connections there are.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    by_address: HashMap<IpAddr, usize>,
    /// One waits for room.
    waiting: bool,
}

/// Whether a connection may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Admitted,
    /// Not yet: when another one ends, [`Admission::leave`] says so.
    Full,
    /// Its address has as many as it may have.
    TooMany,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Counts a connection in, if it may be.
    pub(super) fn enter(&self, peer: Option<IpAddr>) -> Entry {
        let address = self.counted(peer);
        let mut state = lock(&self.state);
        if address.is_some_and(|address| state.by_address.get(&address) >= Some(&self.limits.each)) {
            return Entry::TooMany;
        }
        if state.open >= self.limits.all {
            state.waiting = true;
            return Entry::Full;
        }
        state.count(address);
        Entry::Admitted
    }

    /// Counts one in for which there is no room: the last one of a server that ends.
    pub(super) fn enter_last(&self, peer: Option<IpAddr>) {
        lock(&self.state).count(self.counted(peer));
    }

    /// Counts a connection out. Returns whether another one waits for its place.
    pub(super) fn leave(&self, peer: Option<IpAddr>) -> bool {
        let mut state = lock(&self.state);
        state.open -= 1;
        if let Some(address) = self.counted(peer)
            && let Some(count) = state.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                state.by_address.remove(&address);
            }
        }
        std::mem::take(&mut state.waiting)
    }

    /// How many there are.
    pub(super) fn open(&self) -> usize {
        lock(&self.state).open
    }

    /// How many to close at once where there are too many: looking for them costs the same for one as for some.
    pub(super) fn batch(&self) -> usize {
        (self.limits.all / 64).max(1)
    }

    /// What it is counted under; `None` if it is not counted.
    fn counted(&self, peer: Option<IpAddr>) -> Option<IpAddr> {
        let Limits { each, uncounted, prefixes: (v4, v6), .. } = &self.limits;
        let peer = peer.filter(|peer| *each > 0 && !uncounted.iter().any(|near| near.contains(*peer)))?;
        let bits = if peer.is_ipv4() { *v4 } else { *v6 };
        Some(IpNet::of(peer, bits).address())
    }
}

impl State {
    fn count(&mut self, address: Option<IpAddr>) {
        self.open += 1;
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn admission(all: usize, each: usize, prefixes: (u8, u8)) -> Admission {
        Admission::new(Limits { all, each, uncounted: IpNet::LOOPBACK.into(), prefixes })
    }

    fn enter(admission: &Admission, peer: &str) -> Entry {
        admission.enter(Some(peer.parse().unwrap()))
    }

    #[test]
    fn neighbours_are_told_apart_by_so_many_bits() {
        for (prefixes, near, alike) in [
            ((32, 64), "192.0.2.2", false),
            ((24, 64), "192.0.2.2", true),
            ((24, 64), "192.0.3.1", false),
            ((0, 64), "203.0.113.9", true),
        ] {
            let admission = admission(9, 1, prefixes);
            assert_eq!(enter(&admission, "192.0.2.1"), Entry::Admitted);
            let expected = if alike { Entry::TooMany } else { Entry::Admitted };
            assert_eq!(enter(&admission, near), expected, "{near} {prefixes:?}");
        }
        for (prefix, near, alike) in [
            (64, "2001:db8:1:1::2", true),
            (64, "2001:db8:1:2::1", false),
            (48, "2001:db8:1:2::1", true),
            (128, "2001:db8:1:1::2", false),
            (0, "3fff::1", true),
        ] {
            let admission = admission(9, 1, (32, prefix));
            assert_eq!(enter(&admission, "2001:db8:1:1::1"), Entry::Admitted);
            let expected = if alike { Entry::TooMany } else { Entry::Admitted };
            assert_eq!(enter(&admission, near), expected, "{near} {prefix}");
        }
    }

    #[test]
    fn who_leaves_makes_room_for_its_address_and_for_who_waits() {
        let admission = admission(3, 2, (32, 64));
        let [one, other] = ["192.0.2.1", "192.0.2.2"];
        let entries = [one, one, one, other, other].map(|peer| enter(&admission, peer));
        use Entry::{Admitted, Full, TooMany};
        assert_eq!(entries, [Admitted, Admitted, TooMany, Admitted, Full]);
        assert!(admission.leave(Some(one.parse().unwrap())), "one waits");
        assert_eq!([one, one].map(|peer| enter(&admission, peer)), [Admitted, TooMany]);
        assert!(!admission.leave(Some(one.parse().unwrap())), "nobody waits");
        assert!(!admission.leave(Some(one.parse().unwrap())));
        assert!(!admission.leave(Some(other.parse().unwrap())));
        assert_eq!((admission.open(), lock(&admission.state).by_address.len()), (0, 0));
    }

    #[test]
    fn who_is_not_to_be_counted_is_not() {
        let admission = |uncounted: &[&str]| {
            let uncounted = uncounted.iter().map(|text| text.parse().unwrap()).collect();
            Admission::new(Limits { all: 9, each: 1, uncounted, prefixes: (32, 64) })
        };
        for (uncounted, peer, counted) in [
            (&["127.0.0.0/8", "::1"][..], "127.0.0.1", false),
            (&["127.0.0.0/8", "::1"], "::1", false),
            (&["127.0.0.0/8", "::1"], "10.1.2.3", true),
            (&["10.0.0.0/8"], "10.1.2.3", false),
            (&["10.0.0.0/8"], "127.0.0.1", true),
            (&[], "127.0.0.1", true),
            (&[], "::1", true),
        ] {
            let admission = admission(uncounted);
            assert_eq!(enter(&admission, peer), Entry::Admitted);
            let expected = if counted { Entry::TooMany } else { Entry::Admitted };
            assert_eq!(enter(&admission, peer), expected, "{peer} {uncounted:?}");
        }
        // A UNIX socket.
        let admission = admission(&[]);
        assert_eq!([admission.enter(None), admission.enter(None)], [Entry::Admitted; 2]);
    }
}
