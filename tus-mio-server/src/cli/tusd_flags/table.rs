//! All flags of tusd 2.9, each with what it is here. docs/from-tusd.md has the same table for people.

/// What a flag of tusd's is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Equal {
    /// A flag that takes the same value.
    Text(&'static str),
    /// A flag that takes a duration; the two write them differently.
    Duration(&'static str),
    /// A flag that takes permissions, with a leading zero.
    Octal(&'static str),
    /// A switch.
    Switch(&'static str),
    /// It means something together with others.
    Combined,
    /// The same, as a switch.
    CombinedSwitch,
    /// Nothing is lost without it.
    Needless,
    /// The same, as a switch.
    NeedlessSwitch,
    /// The server works without it, and differs: how.
    Warned(&'static str),
    /// The same, as a switch.
    WarnedSwitch(&'static str),
    /// The server would not do what it was asked for: what to do instead.
    Missing(&'static str),
    /// The same, as a switch.
    MissingSwitch(&'static str),
}

impl Equal {
    /// Whether the flag takes no value of its own.
    pub(super) fn is_switch(self) -> bool {
        matches!(
            self,
            Self::Switch(_)
                | Self::CombinedSwitch
                | Self::NeedlessSwitch
                | Self::WarnedSwitch(_)
                | Self::MissingSwitch(_)
        )
    }
}

use Equal::{
    Combined, CombinedSwitch, Duration, Missing, MissingSwitch, Needless, NeedlessSwitch, Octal, Switch,
    Text, Warned, WarnedSwitch,
};

const NO_GRPC: &str = "answer by HTTP (-hooks-http) or by commands (-hooks-dir)";
const NO_PROFILES: &str = "there are no profiles of the running server";
const NO_CLOUD: &str = "only S3 and what speaks like it";

/// The flags in the order of tusd's own help.
pub(super) const FLAGS: &[(&str, Equal)] = &[
    ("base-path", Text("base-path")),
    ("behind-proxy", Switch("behind-proxy")),
    ("enable-h2c", WarnedSwitch("HTTP/1.1 is spoken, as proxies do by default")),
    ("host", Combined),
    ("port", Combined),
    ("unix-sock", Combined),
    ("tls-certificate", Text("tls-cert")),
    ("tls-key", Text("tls-key")),
    ("tls-mode", Combined),
    ("disable-concatenation", Switch("disable-concatenation")),
    ("disable-download", CombinedSwitch),
    ("disable-termination", Switch("disable-termination")),
    ("enable-experimental-protocol", WarnedSwitch("only tus 1.0.0 is spoken on its paths")),
    ("max-size", Text("max-size")),
    ("cors-allow-credentials", Switch("cors-allow-credentials")),
    ("cors-allow-headers", Text("cors-allow-headers")),
    ("cors-allow-methods", Warned("pages may use all methods that the server has")),
    ("cors-allow-origin", Combined),
    ("cors-expose-headers", Warned("pages may read the protocol's headers")),
    ("cors-max-age", Combined),
    ("disable-cors", CombinedSwitch),
    ("dir-perms", Octal("dir-mode")),
    ("file-perms", Octal("file-mode")),
    ("filelock-acquirer-poll-interval", Needless),
    ("filelock-holder-poll-interval", Needless),
    ("upload-dir", Combined),
    ("s3-bucket", Missing("give --store s3://BUCKET/PREFIX before --tusd-flags")),
    ("s3-concurrent-part-uploads", Warned("the server decides how many run at once")),
    ("s3-disable-content-hashes", NeedlessSwitch),
    ("s3-disable-ssl", MissingSwitch("write the endpoint with http://")),
    ("s3-endpoint", Missing("give --store-option endpoint=URL before --tusd-flags")),
    ("s3-log-api-calls", WarnedSwitch("calls are logged at --log-level debug")),
    ("s3-max-buffered-parts", Needless),
    ("s3-min-part-size", Needless),
    ("s3-object-prefix", Missing("give --store s3://BUCKET/PREFIX before --tusd-flags")),
    ("s3-part-size", Text("store-part-size")),
    ("s3-transfer-acceleration", MissingSwitch("give the accelerated endpoint as -s3-endpoint")),
    ("gcs-bucket", Missing(NO_CLOUD)),
    ("gcs-endpoint", Missing(NO_CLOUD)),
    ("gcs-object-prefix", Missing(NO_CLOUD)),
    ("azure-blob-access-tier", Missing(NO_CLOUD)),
    ("azure-container-access-type", Missing(NO_CLOUD)),
    ("azure-endpoint", Missing(NO_CLOUD)),
    ("azure-object-prefix", Missing(NO_CLOUD)),
    ("azure-storage", Missing(NO_CLOUD)),
    ("hooks-enabled-events", Text("hooks-enabled-events")),
    ("progress-hooks-interval", Duration("hooks-progress-interval")),
    ("hooks-dir", Text("hooks-dir")),
    ("hooks-http", Text("hooks-http")),
    ("hooks-http-backoff", Duration("hooks-http-backoff")),
    ("hooks-http-forward-headers", Text("hooks-http-forward-headers")),
    ("hooks-http-retry", Text("hooks-http-retry")),
    ("hooks-http-size-limit", Text("hooks-http-size-limit")),
    ("hooks-http-timeout", Duration("hooks-http-timeout")),
    ("hooks-grpc", Missing(NO_GRPC)),
    ("hooks-grpc-backoff", Needless),
    ("hooks-grpc-client-tls-certificate", Needless),
    ("hooks-grpc-client-tls-key", Needless),
    ("hooks-grpc-forward-headers", Needless),
    ("hooks-grpc-retry", Needless),
    ("hooks-grpc-secure", NeedlessSwitch),
    ("hooks-grpc-server-tls-certificate", Needless),
    ("hooks-plugin", Missing(NO_GRPC)),
    ("expose-metrics", CombinedSwitch),
    ("expose-pprof", WarnedSwitch(NO_PROFILES)),
    ("log-format", Text("log-format")),
    ("metrics-path", Combined),
    ("pprof-block-profile-rate", Needless),
    ("pprof-mutex-profile-rate", Needless),
    ("pprof-path", Needless),
    ("show-greeting", NeedlessSwitch),
    ("show-startup-logs", NeedlessSwitch),
    ("verbose", CombinedSwitch),
    ("acquire-lock-timeout", Duration("lock-wait")),
    ("network-timeout", Duration("request-timeout")),
    ("request-completion-timeout", Warned("a request's last steps are not cut short")),
    ("shutdown-timeout", Duration("shutdown-timeout")),
];
