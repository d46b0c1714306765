//! Under which rules a head is read, and the head itself, as a fuzzer's bytes say.

use tus_proto::{Algorithm, Config, Framing, Head, MethodOverride, ProxyHeaders};

/// The base path that [`Rules::config`] leaves as it is.
pub(super) const BASE: &str = "/files";
pub(super) const BASE_URL: &str = "https://up.example/tus";
pub(super) const ORIGIN: &str = "https://example.org";

/// What is configured. Each bit of two bytes is a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) max_size: Option<u64>,
    pub(super) max_chunk_size: Option<u64>,
    pub(super) max_parts: usize,
    pub(super) checksums: bool,
    pub(super) concatenation: bool,
    pub(super) termination: bool,
    pub(super) downloads: bool,
    pub(super) behind_proxy: bool,
    pub(super) base_url: bool,
    pub(super) cors: bool,
    pub(super) secure: bool,
    pub(super) direct: bool,
    /// The proxy says `Forwarded`, and not `X-Forwarded-*`.
    pub(super) forwarded: bool,
    /// Any method may be overridden, and not only POST.
    pub(super) any_override: bool,
    /// How long the upload is that is downloaded.
    pub(super) length: u64,
}

impl Rules {
    /// No bit set is the default configuration, with downloads and behind a proxy.
    fn of(bits: [u8; 2]) -> Self {
        let bit = |at: u32| u16::from_le_bytes(bits) & 1 << at != 0;
        Self {
            max_size: bit(0).then_some(1000),
            max_chunk_size: bit(1).then_some(100),
            max_parts: if bit(2) { 2 } else { 1000 },
            checksums: !bit(3),
            concatenation: !bit(4),
            termination: !bit(5),
            downloads: !bit(6),
            behind_proxy: !bit(7) && !bit(8),
            base_url: bit(8),
            cors: bit(9),
            secure: bit(10),
            direct: bit(11),
            forwarded: bit(14),
            any_override: bit(15),
            length: [100, 0, 1, u64::MAX >> 1][usize::from(bits[1] >> 4 & 3)],
        }
    }

    pub(super) fn config(&self) -> Config {
        let algorithms = if self.checksums { Algorithm::ALL.to_vec() } else { Vec::new() };
        // The reference knows tus 1.0.0 alone.
        let mut builder = Config::builder()
            .rufh(false)
            .max_size(self.max_size.unwrap_or(0))
            .max_chunk_size(self.max_chunk_size.unwrap_or(0))
            .max_parts(self.max_parts)
            .checksum_algorithms(algorithms)
            .concatenation(self.concatenation)
            .termination(self.termination)
            .downloads(self.downloads)
            .behind_proxy(self.behind_proxy)
            .proxy_headers(if self.forwarded { ProxyHeaders::Forwarded } else { ProxyHeaders::XForwarded })
            .method_override(if self.any_override { MethodOverride::Any } else { MethodOverride::Post });
        if self.base_url {
            builder = builder.location_base_url(BASE_URL);
        }
        if self.cors {
            builder = builder.cors_allow_origins(vec![ORIGIN.into()]).cors_allow_credentials(true);
        }
        builder.build().unwrap()
    }
}

/// A head that RFC 9112 finds well-formed, as a connection hands it on.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) framing: Framing,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) secure: bool,
    pub(super) direct: bool,
}

impl Sent {
    /// Two bytes of rules, `METHOD TARGET FRAMING` and lines of fields. What is not well-formed is left out; none
    /// where that is the first line.
    pub(super) fn parse(data: &[u8]) -> Option<(Rules, Self)> {
        let (bits, text) = data.split_first_chunk::<2>()?;
        let rules = Rules::of(*bits);
        let mut lines = text.split(|byte| *byte == b'\n');
        let first = str::from_utf8(lines.next()?).ok()?;
        let mut words = first.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let visible = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic());
        if !super::text::is_token(&method) || !visible {
            return None;
        }
        let framing = match words.next() {
            Some("chunked") => Framing::Chunked,
            Some(length) => Framing::Length(length.parse::<u64>().unwrap_or(0).min(u64::MAX >> 1)),
            None => Framing::Length(0),
        };
        let fields = lines.filter_map(field).take(100).collect();
        Some((rules, Self { method, target, framing, fields, secure: rules.secure, direct: rules.direct }))
    }

    pub(super) fn look<R>(&self, look: impl FnOnce(&Head<'_>) -> R) -> R {
        let fields: Vec<_> =
            self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let Self { method, target, .. } = self;
        let (framing, secure, direct) = (self.framing, self.secure, self.direct);
        look(&Head { method, target, fields: &fields, framing, secure, direct })
    }

    /// The values of a field, in their order.
    pub(super) fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(field, _)| field.to_lowercase() == name.to_lowercase());
        named.map(|(_, value)| value.as_slice()).collect()
    }

    /// The values of a field that differ.
    pub(super) fn distinct(&self, name: &str) -> Vec<&[u8]> {
        let mut values = self.values(name);
        values.sort();
        values.dedup();
        values
    }
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(line[..colon].to_vec()).ok().filter(|name| super::text::is_token(name))?;
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let value: Vec<u8> = line[colon + 1..].iter().skip_while(blank).copied().collect();
    let trailing = value.iter().rev().take_while(blank).count();
    let value = value[..value.len() - trailing].to_vec();
    let allowed = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    value.iter().all(allowed).then_some((name, value))
}
