//! Networks of addresses: who is near, and what tells one client's address from another's.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The addresses that begin with the same bits. As text `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    /// The first of them.
    address: IpAddr,
    bits: u8,
}

impl IpNet {
    /// The addresses of this machine itself.
    pub const LOOPBACK: [Self; 2] = [
        Self { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
        Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
    ];

    /// The network of the first `bits` bits of `address`; of all of them, where it has fewer.
    pub(crate) fn of(address: IpAddr, bits: u8) -> Self {
        match address {
            IpAddr::V4(address) => {
                let bits = bits.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Self { address: Ipv4Addr::from_bits(address.to_bits() & mask).into(), bits }
            }
            IpAddr::V6(address) => {
                let bits = bits.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Self { address: Ipv6Addr::from_bits(address.to_bits() & mask).into(), bits }
            }
        }
    }

    /// Its first address.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether this is one of its addresses. An IPv4 address in the clothes of IPv6 is what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::of(address.to_canonical(), self.bits).address == self.address
    }
}

impl FromStr for IpNet {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError(()))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| NetworkError(()))?;
        let network = Self::of(address, bits);
        // What was meant by other bits is anybody's guess; and no client has such an IPv6 address here.
        let is_meant = bits <= most && network.address == address && address.to_canonical() == address;
        if is_meant { Ok(network) } else { Err(NetworkError(())) }
    }
}

/// The text names no network. The fault is its author's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(());

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "write addresses, as 192.0.2.7, or networks, as 10.0.0.0/8 or 2001:db8::/32, with nothing behind the prefix",
        )
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_with_its_bits() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::a00:1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("0.0.0.0/0", "203.0.113.1", "::"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "127.0.0.1"),
            ("::/0", "3fff::1", "0.0.0.0"),
        ] {
            let parsed: IpNet = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.1/8",
            "10/8",
            "2001:db8::/129",
            "2001:db8::1/32",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.1",
            "127.0.0.1:80",
        ] {
            assert_eq!(text.parse::<IpNet>(), Err(NetworkError(())), "{text:?}");
        }
    }

    #[test]
    fn this_machine_is_the_loopback() {
        let parsed = ["127.0.0.0/8", "::1"].map(|text| text.parse::<IpNet>().unwrap());
        assert_eq!(parsed, IpNet::LOOPBACK);
    }
}
