//! Flags whose value is one of a few words.

use clap::ValueEnum;

/// What new uploads' addresses look like.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// URLs where nothing shows a proxy or a browser, else paths.
    Auto,
    /// Paths.
    Relative,
    /// URLs.
    Absolute,
}

/// In which headers a proxy says how its client has reached it.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyHeaders {
    /// `X-Forwarded-Host`, `-Proto` and `-Port`.
    XForwarded,
    /// `Forwarded`.
    Forwarded,
}

/// Which requests may name another method than their own.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodOverride {
    /// Those of POST.
    Post,
    /// All but OPTIONS.
    Any,
    /// None.
    Off,
}

impl From<Location> for tus_proto::Locations {
    fn from(location: Location) -> Self {
        match location {
            Location::Auto => Self::Auto,
            Location::Relative => Self::Relative,
            Location::Absolute => Self::Absolute,
        }
    }
}

impl From<ProxyHeaders> for tus_proto::ProxyHeaders {
    fn from(headers: ProxyHeaders) -> Self {
        match headers {
            ProxyHeaders::XForwarded => Self::XForwarded,
            ProxyHeaders::Forwarded => Self::Forwarded,
        }
    }
}

impl From<MethodOverride> for tus_proto::MethodOverride {
    fn from(requests: MethodOverride) -> Self {
        match requests {
            MethodOverride::Post => Self::Post,
            MethodOverride::Any => Self::Any,
            MethodOverride::Off => Self::Off,
        }
    }
}
