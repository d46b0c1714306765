//! How many uploads an address may create in an hour. The hour begins with its first upload: so an address costs a count
//! and a time, and a client that is told to wait is told until when.

use std::{collections::HashMap, net::IpAddr, sync::Mutex, time::Duration};

use tus_proto::Instant;

use crate::cidr::IpNet;
use crate::sync::lock;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// How many addresses are remembered. Where more come within an hour, the limit is no help against them, and those beyond
/// are not counted.
const MOST: usize = 100_000;

/// Counts creations by address.
#[derive(Debug)]
pub(crate) struct UploadRate {
    /// 0 for no limit.
    limit: u32,
    uncounted: Vec<IpNet>,
    prefixes: (u8, u8),
    /// When an address's hour has begun, and how many uploads it has created since.
    hours: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl UploadRate {
    pub(crate) fn new(limit: u32, uncounted: Vec<IpNet>, prefixes: (u8, u8)) -> Self {
        Self { limit, uncounted, prefixes, hours: Mutex::default() }
    }

    /// Whether there is a limit.
    pub(super) fn is_limited(&self) -> bool {
        self.limit > 0
    }

    /// Counts a creation from an address. An error is how long that must wait.
    pub(super) fn admit(&self, address: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let Some(address) =
            address.map(|address| address.to_canonical()).filter(|address| self.counts(*address))
        else {
            return Ok(());
        };
        let (v4, v6) = self.prefixes;
        let address = IpNet::of(address, if address.is_ipv4() { v4 } else { v6 }).address();
        let mut hours = lock(&self.hours);
        if hours.len() >= MOST && !hours.contains_key(&address) {
            hours.retain(|_, (begun, _)| now.since(*begun) < HOUR);
            if hours.len() >= MOST {
                return Ok(());
            }
        }
        let (begun, count) = hours.entry(address).or_insert((now, 0));
        if now.since(*begun) >= HOUR {
            (*begun, *count) = (now, 0);
        }
        if *count >= self.limit {
            return Err(begun.after(HOUR).since(now));
        }
        *count += 1;
        Ok(())
    }

    fn counts(&self, address: IpAddr) -> bool {
        self.is_limited() && !self.uncounted.iter().any(|near| near.contains(address))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_hour_begins_with_the_first_upload() {
        let rate = UploadRate::new(2, IpNet::LOOPBACK.into(), (32, 64));
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let admit = |address: &str, seconds| rate.admit(Some(address.parse().unwrap()), at(seconds));
        assert_eq!(admit("192.0.2.1", 10), Ok(()));
        assert_eq!(admit("192.0.2.1", 20), Ok(()));
        assert_eq!(admit("192.0.2.1", 30), Err(Duration::from_secs(3_580)));
        assert_eq!(admit("::ffff:192.0.2.1", 3_609), Err(Duration::from_secs(1)));
        assert_eq!(admit("192.0.2.2", 30), Ok(()), "another");
        assert_eq!(admit("192.0.2.1", 3_610), Ok(()));
        for _ in 0..9 {
            assert_eq!(admit("127.0.0.1", 1), Ok(()), "a proxy's");
            assert_eq!(rate.admit(None, at(1)), Ok(()), "a UNIX socket's");
        }
        for (address, admitted) in [("2001:db8::1", true), ("2001:db8::2", true), ("2001:db8::3", false)] {
            assert_eq!(admit(address, 1).is_ok(), admitted, "{address} is of the same network");
        }
        assert!(!UploadRate::new(0, Vec::new(), (32, 64)).is_limited());
    }
}
