//! How sizes, durations, addresses and switches are written, on the command line and in the environment.
//! Each parser's error is the reader's to mend, so it says how.

use std::time::Duration;

use tus_mio_server::{Address, AddressError, IpNet, NetworkError};
use tus_proto::Algorithm;

/// No size is larger: tus lengths are at most 2^63-1.
const MAX_SIZE: u64 = i64::MAX as u64;
/// No duration is longer. Deadlines far beyond the life of a process only invite overflow.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const SIZE_HINT: &str = "write bytes as 1048576, or with a unit, as 64KiB, 10GB or 1.5GiB";
const DURATION_HINT: &str = "write units after the numbers, largest first, as 30s, 24h, 500ms or 1h30m";

/// A number of bytes: `1048576`, `64KiB`, `10GB`, `1.5GiB`. The case of the unit's letters is ignored, what
/// a fraction leaves below one byte is cut.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = unit_of_size(unit.trim_start())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(format!("not a size: {SIZE_HINT}"));
    }
    if number.contains('.') && factor == 1 {
        return Err(format!("not a whole number of bytes: {SIZE_HINT}"));
    }
    let bytes = scaled(whole, fraction, factor)
        .filter(|bytes| *bytes <= MAX_SIZE)
        .ok_or("too large: at most 9223372036854775807 bytes")?;
    // Zero stands for "no limit", which nobody means who writes a tiny fraction.
    if bytes == 0 && number.bytes().any(|b| matches!(b, b'1'..=b'9')) {
        return Err("less than one byte: write 0 for no limit".into());
    }
    Ok(bytes)
}

/// `whole.fraction` times `factor`, rounded down; `None` if it is beyond 64 bits or has too many digits.
fn scaled(whole: &str, fraction: &str, factor: u64) -> Option<u64> {
    let factor = u128::from(factor);
    let whole = u128::from(whole.parse::<u64>().ok()?) * factor;
    // Digits beyond the eighteenth are worth less than a byte even in PiB.
    let digits = fraction.get(..18).unwrap_or(fraction);
    let part =
        u128::from(digits.parse::<u64>().ok()?) * factor / 10u128.pow(u32::try_from(digits.len()).ok()?);
    u64::try_from(whole + part).ok()
}

fn unit_of_size(unit: &str) -> Result<u64, String> {
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "pb" => 1_000_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "pib" => 1 << 50,
        short @ ("k" | "m" | "g" | "t" | "p") => {
            let letter = short.to_ascii_uppercase();
            return Err(format!(
                "{unit:?} may mean two things: write {letter}B (by 1000) or {letter}iB (by 1024)"
            ));
        }
        _ => return Err(format!("not a size: {SIZE_HINT}")),
    };
    Ok(factor)
}

/// The algorithms of `--checksum-algorithms`, as one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Algorithms(pub(crate) Vec<Algorithm>);

/// Names of checksum algorithms separated by commas, or `none`.
pub(crate) fn algorithms(text: &str) -> Result<Algorithms, String> {
    let mut algorithms = Vec::new();
    let names = text.split(',').map(str::trim);
    for name in names.filter(|_| text.trim() != "none") {
        let known = || Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
        let algorithm = Algorithm::named(name).ok_or_else(|| {
            format!("{name:?} is no algorithm known here: write some of {}, or none", known())
        })?;
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    Ok(Algorithms(algorithms))
}

/// The networks of `--uncounted-addresses`, as one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Networks(pub(crate) Vec<IpNet>);

/// Addresses and networks separated by commas, or `none`.
pub(crate) fn networks(text: &str) -> Result<Networks, String> {
    let words = text.split(',').map(str::trim).filter(|_| text.trim() != "none");
    let networks =
        words.map(|word| word.parse().map_err(|error: NetworkError| format!("{word:?}: {error}; or none")));
    networks.collect::<Result<_, _>>().map(Networks)
}

/// A duration: `30s`, `24h`, `500ms`, `1h30m`, or a bare `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let malformed = || format!("not a duration: {DURATION_HINT}");
    let mut millis = 0u64;
    let mut smaller = UNITS.as_slice();
    while !rest.is_empty() || smaller.len() == UNITS.len() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, next) = behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
        let place = smaller.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
        let (_, factor) = smaller.get(place).ok_or_else(malformed)?;
        smaller = smaller.get(place + 1..).unwrap_or_default();
        if number.is_empty() {
            return Err(malformed());
        }
        // Digits alone fail to parse only where they are too many.
        let number = number.parse::<u64>().unwrap_or(u64::MAX);
        millis = millis.saturating_add(number.saturating_mul(*factor));
        rest = next;
    }
    let duration = Duration::from_millis(millis);
    if duration > MAX_DURATION { Err("too long: at most 365d".into()) } else { Ok(duration) }
}

/// An address to listen on.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    text.trim().parse().map_err(|error: AddressError| error.to_string())
}

/// A parser of whole numbers from 1 to `most`.
pub(crate) fn count(most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.trim().parse().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| format!("write a number from 1 to {most}"))
    }
}

/// A parser of whole numbers up to `most`, 0 for none.
pub(crate) fn count_or_none(
    most: usize,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.trim().parse().ok().filter(|number| *number <= most);
        number.ok_or_else(|| format!("write a number from 1 to {most}, or 0 for no limit"))
    }
}

/// How many bits of IPv4 and of IPv6 addresses: `24,48`.
pub(crate) fn prefixes(text: &str) -> Result<(u8, u8), String> {
    let pair = text.split_once(',').and_then(|(v4, v6)| {
        Some((
            v4.trim().parse().ok().filter(|v4| *v4 <= 32)?,
            v6.trim().parse().ok().filter(|v6| *v6 <= 128)?,
        ))
    });
    pair.ok_or_else(|| "write two numbers, the first at most 32, the second at most 128, as 24,48".into())
}

/// A switch's value in the environment. Empty counts as off, as a variable that is set to nothing is meant.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;

    #[test]
    fn checksum_algorithms_are_names_or_none() {
        let names = |text| algorithms(text).map(|Algorithms(list)| list);
        assert_eq!(names("sha256, sha1,sha256"), Ok(vec![Algorithm::Sha256, Algorithm::Sha1]));
        assert_eq!(names("none"), Ok(vec![]));
        for bad in ["", "crc32", "sha1,", "none,sha1", "SHA1"] {
            assert!(names(bad).is_err_and(|text| text.contains("sha512")), "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("0KiB", 0),
            ("0.0GB", 0),
            ("1048576", 1 << 20),
            ("17B", 17),
            ("64KiB", 64 << 10),
            ("64kib", 64 << 10),
            ("64 KB", 64_000),
            (" 10GB ", 10_000_000_000),
            ("1.5GiB", 3 << 29),
            ("0.001KB", 1),
            ("1.0009KB", 1_000),
            ("2TiB", 2 << 40),
            ("3PB", 3_000_000_000_000_000),
            ("1.00000000000000000000000000001PiB", 1 << 50),
            ("9223372036854775807", i64::MAX as u64),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn sizes_that_are_none_are_refused_with_a_hint() {
        for (text, hint) in [
            ("", "not a size"),
            ("-1", "not a size"),
            ("ten", "not a size"),
            ("1.GB", "not a size"),
            (".5GB", "not a size"),
            ("1.2.3GB", "not a size"),
            ("1e3", "not a size"),
            ("10GBs", "not a size"),
            ("1_000", "not a size"),
            ("10 G B", "not a size"),
            ("١KB", "not a size"),
            ("1.5", "not a whole number of bytes"),
            ("1.5B", "not a whole number of bytes"),
            ("64K", "write KB (by 1000) or KiB (by 1024)"),
            ("1g", "write GB (by 1000) or GiB (by 1024)"),
            ("0.0001KB", "less than one byte"),
            ("9223372036854775808", "too large"),
            ("8192PiB", "too large"),
            ("99999999999999999999999PiB", "too large"),
        ] {
            let refused = size(text).expect_err(text);
            assert!(refused.contains(hint), "{text:?}: {refused}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000),
            ("24h", 86_400_000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            (" 2m ", 120_000),
            ("365d", 31_536_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text:?}");
        }
    }

    #[test]
    fn durations_that_are_none_are_refused_with_a_hint() {
        for (text, hint) in [
            ("", "not a duration"),
            ("30", "not a duration"),
            ("00", "not a duration"),
            ("s", "not a duration"),
            ("1.5h", "not a duration"),
            ("-1s", "not a duration"),
            ("30S", "not a duration"),
            ("30m1h", "not a duration"),
            ("1s1s", "not a duration"),
            ("1h30", "not a duration"),
            ("1h 30m", "not a duration"),
            ("1µs", "not a duration"),
            ("366d", "too long"),
            ("99999999999999999999999h", "too long"),
        ] {
            let refused = duration(text).expect_err(text);
            assert!(refused.contains(hint), "{text:?}: {refused}");
        }
    }

    #[test]
    fn addresses_need_a_port() {
        for (text, read) in [("[::1]:0", "[::1]:0"), ("8080", "[::]:8080"), (":8080", "[::]:8080")] {
            assert_eq!(address(text).map(|a| a.to_string()), Ok(read.into()), "{text}");
        }
        for bad in ["", "127.0.0.1", "127.0.0.1:65536", "::1:80x"] {
            assert!(address(bad).expect_err(bad).contains("127.0.0.1:8080"), "{bad:?}");
        }
    }

    #[test]
    fn counts_have_both_limits() {
        assert_eq!((count(64)("1"), count(64)(" 64 ")), (Ok(1), Ok(64)));
        for bad in ["", "0", "65", "-1", "four", "1.0"] {
            assert_eq!(count(64)(bad), Err("write a number from 1 to 64".into()), "{bad:?}");
        }
    }

    #[test]
    fn no_limit_is_a_count_where_it_may_be() {
        assert_eq!((count_or_none(9)("0"), count_or_none(9)("9")), (Ok(0), Ok(9)));
        assert!(count_or_none(9)("10").is_err() && count_or_none(9)("").is_err());
    }

    #[test]
    fn prefixes_fit_their_addresses() {
        assert_eq!((prefixes("32,128"), prefixes(" 0, 48 ")), (Ok((32, 128)), Ok((0, 48))));
        for bad in ["", "24", "33,64", "24,129", "-1,64", "24,48,1"] {
            assert!(prefixes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn networks_are_a_list_or_none() {
        let parsed = |text: &str| text.parse().expect("a network");
        assert_eq!(networks("10.0.0.0/8, ::1"), Ok(Networks(vec![parsed("10.0.0.0/8"), parsed("::1")])));
        assert_eq!(networks("127.0.0.0/8,::1"), Ok(Networks(IpNet::LOOPBACK.into())));
        assert_eq!(networks(" none "), Ok(Networks(vec![])));
        for (bad, word) in [("", "\"\""), ("::1,", "\"\""), ("::1,none", "\"none\""), ("::1,a", "\"a\"")] {
            let error = networks(bad).expect_err(bad);
            assert!(error.starts_with(word) && error.ends_with("; or none"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn switches() {
        for on in ["1", "true", "YES", "on"] {
            assert_eq!(switch(on), Ok(true), "{on:?}");
        }
        for off in ["", "0", "False", "no", "off"] {
            assert_eq!(switch(off), Ok(false), "{off:?}");
        }
        assert!(switch("maybe").is_err());
    }
}
