//! From a URL and options to a bucket.

use std::{fmt, sync::Arc, time::Duration};

use object_store::{
    ClientOptions, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    memory::InMemory,
};

use crate::{bucket::Bucket, cloud::CloudBucket, part_list::S3Parts};

/// How long a store may take to accept a connection, and to answer: it completes parts in the longer one.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(150);

/// Why a bucket can't be named so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is of no kind that is known.
    Url(String),
    /// There is no such option for stores of this kind.
    Option(String),
    /// The client can't be made of these options.
    Client(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(
                f,
                "`{url}` names no bucket: write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or memory://"
            ),
            Self::Option(key) => write!(f, "`{key}` is no option of stores of this kind"),
            Self::Client(why) => write!(f, "the object store's client can't be made: {why}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// The bucket of a URL: `s3://BUCKET/PREFIX`, `gs://…`, `az://…`, or `memory://` for one that goes with its last use.
/// Credentials, and what else the environment says, are read from there as those clouds' own tools do (`AWS_…`,
/// `GOOGLE_…`, `AZURE_…`); options, by the names of the crate `object_store`, come before that.
///
/// # Errors
/// The URL, an option, or what they make together is not understood.
pub fn connect<'a>(
    url: &str,
    options: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Arc<dyn Bucket>, ConnectError> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| ConnectError::Url(url.into()))?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() && scheme != "memory" {
        return Err(ConnectError::Url(url.into()));
    }
    // TLS has no provider of its own here; a second call finds the first one's.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options: Vec<(&str, &str)> = options.into_iter().collect();
    // Ours are the only retries: theirs hide which answers were lost.
    let retry = RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() };
    let client = ClientOptions::new()
        .with_timeout(ANSWER)
        .with_connect_timeout(CONNECT)
        .with_pool_max_idle_per_host(64);
    let error = |error: object_store::Error| ConnectError::Client(error.to_string());
    Ok(match scheme {
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::from_env()
                .with_client_options(client)
                .with_bucket_name(bucket)
                .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true");
            for (key, value) in options {
                let known = key.to_ascii_lowercase().parse().map_err(|_| ConnectError::Option(key.into()))?;
                builder = builder.with_config(known, value);
            }
            let store = builder.with_retry(retry).build().map_err(error)?;
            let client = reqwest::Client::builder().connect_timeout(CONNECT).timeout(ANSWER).build();
            let client = client.map_err(|error| ConnectError::Client(error.to_string()))?;
            let parts = S3Parts { store: Arc::new(store.clone()), client };
            Arc::new(CloudBucket::new(store, prefix).with_parts(Arc::new(parts)))
        }
        "gs" => {
            let mut builder =
                GoogleCloudStorageBuilder::from_env().with_client_options(client).with_bucket_name(bucket);
            for (key, value) in options {
                let known: GoogleConfigKey =
                    key.to_ascii_lowercase().parse().map_err(|_| ConnectError::Option(key.into()))?;
                builder = builder.with_config(known, value);
            }
            Arc::new(CloudBucket::new(builder.with_retry(retry).build().map_err(error)?, prefix))
        }
        "az" | "azure" => {
            let mut builder =
                MicrosoftAzureBuilder::from_env().with_client_options(client).with_container_name(bucket);
            for (key, value) in options {
                let known: AzureConfigKey =
                    key.to_ascii_lowercase().parse().map_err(|_| ConnectError::Option(key.into()))?;
                builder = builder.with_config(known, value);
            }
            Arc::new(CloudBucket::new(builder.with_retry(retry).build().map_err(error)?, prefix))
        }
        "memory" => Arc::new(CloudBucket::new(InMemory::new(), prefix)),
        _ => return Err(ConnectError::Url(url.into())),
    })
}
