//! `104 Upload Resumption Supported`: what is told before the final answer, to clients that name their version.

use alloc::string::String;

use super::answer::limits;
use crate::{Interim, Now, Output, exchange::Exchange};

impl Exchange {
    /// The upload is made: the client can go on with it, whatever becomes of this request.
    pub(in super::super) fn tell_location(&mut self, now: Now, location: &str) {
        let Some(rufh) = self.rufh.as_ref().filter(|rufh| rufh.named) else { return };
        let mut interim = Interim::new();
        interim.push("Upload-Draft-Interop-Version", rufh.version.number);
        interim.push("Location", location);
        let lifetime = rufh.version.lifetime;
        if let Some(limits) = lifetime.and_then(|_| limits(&self.config, lifetime, self.expires, now.wall)) {
            interim.push("Upload-Limit", limits);
        }
        self.outputs.push_back(Output::Interim(interim));
    }

    /// So much is committed, while the body still comes.
    pub(in super::super) fn tell_progress(&mut self, offset: u64) {
        let Some(rufh) = self.rufh.as_ref().filter(|rufh| rufh.named && rufh.version.progress) else {
            return;
        };
        let mut interim = Interim::new();
        interim.push("Upload-Draft-Interop-Version", rufh.version.number);
        interim.push("Upload-Offset", offset);
        self.outputs.push_back(Output::Interim(interim));
    }
}

impl Interim {
    fn new() -> Self {
        Self { headers: String::with_capacity(128) }
    }
}
