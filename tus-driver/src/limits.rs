//! What requests may cost, in time and in bytes, where a runtime's requests are tasks or threads.

use std::time::Duration;

use crate::outbox::Pauses;

/// What requests may cost, in time and in bytes. Begin with [`Limits::default`], and change fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How long a client may send no byte of a body that is waited for; zero for no limit. Default 30 s.
    pub request_timeout: Duration,
    /// The minimum rate: so many bytes of a body extend its deadline by one second, up to `request_timeout`; with 0 any byte
    /// restores all of it. Default 500.
    pub body_min_rate: u64,
    /// How many bytes of an unwanted body are read so that its connection can be kept. Default 256 KiB.
    pub drain_bytes: u64,
    /// How many are read after a response that ends the connection, so that the client can read the response. Default
    /// 16 MiB.
    pub linger_bytes: u64,
    /// How long such bodies are read. Default 10 s.
    pub linger_timeout: Duration,
    /// How long a request waits for a hook before it is answered 500. Default 30 s.
    pub hook_timeout: Duration,
    /// How many hooks that block may run at once while requests wait for them. The same bound holds for hooks that are told
    /// after the fact, and for those of them that are tasks. Default 4.
    pub hook_threads: usize,
    /// How long after its first failure a hook is told an event again; it doubles with each further one. Default 1 s.
    pub hook_pause: Duration,
    /// The longest such pause. Default 5 min.
    pub hook_longest_pause: Duration,
    /// How long requests may go on after a shutdown was asked for. Default 10 s.
    pub shutdown_timeout: Duration,
    /// How often expired uploads are looked for. Default 60 s.
    pub cleanup_interval: Duration,
    /// How many of the runtime's blocking threads may work at once for requests; one more commits, and one does
    /// housekeeping. Default 4.
    pub threads: usize,
}

impl Limits {
    /// The pauses of hooks that failed.
    pub(crate) fn pauses(&self) -> Pauses {
        Pauses::new(self.hook_pause, self.hook_longest_pause)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            body_min_rate: 500,
            drain_bytes: 256 << 10,
            linger_bytes: 16 << 20,
            linger_timeout: Duration::from_secs(10),
            hook_timeout: Duration::from_secs(30),
            hook_threads: 4,
            hook_pause: Duration::from_secs(1),
            hook_longest_pause: Duration::from_secs(300),
            shutdown_timeout: Duration::from_secs(10),
            cleanup_interval: Duration::from_secs(60),
            threads: 4,
        }
    }
}
