//! The exchange's hold on its lock: asked for, held, renewed at a third of its time to live, given up once.

use core::time::Duration;

use super::Exchange;
use crate::{Cancel, Fence, Instant, LockCall, LockReply, Now, OpId, Output, UploadId};

#[derive(Debug)]
pub(super) enum Lease {
    /// Never asked for, or given up.
    None,
    /// Asked for.
    Wanted(UploadId),
    Held(Held),
}

#[derive(Debug)]
pub(super) struct Held {
    key: UploadId,
    pub fence: Fence,
    /// The last holder may still be writing.
    pub rotate: bool,
    ttl: Duration,
    expires: Instant,
    renew_at: Instant,
    renewing: Option<OpId>,
}

impl Lease {
    pub(super) fn granted(&mut self, now: Instant, ttl: Duration, fence: Fence, rotate: bool) {
        if let Self::Wanted(key) = core::mem::replace(self, Self::None) {
            let (expires, renew_at) = (now.after(ttl), now.after(ttl / 3));
            *self = Self::Held(Held { key, fence, rotate, ttl, expires, renew_at, renewing: None });
        }
    }

    /// The grant's number and whether its predecessor may still be writing; zero and no without a grant,
    /// which no writing state is in.
    pub(super) fn grant(&self) -> (Fence, bool) {
        match self {
            Self::Held(held) => (held.fence, mutation!("extent-not-fresh", held.rotate, false)),
            Self::None | Self::Wanted(_) => (Fence::default(), false),
        }
    }

    /// The upload whose lock must be released, if there is one.
    pub(super) fn give_up(&mut self) -> Option<UploadId> {
        match core::mem::replace(self, Self::None) {
            Self::None => None,
            Self::Wanted(key) => mutation!("lost-unlock", Some(key), None),
            Self::Held(Held { key, .. }) => Some(key),
        }
    }

    /// When to renew.
    pub(super) fn renewal(&self) -> Option<Instant> {
        match self {
            Self::Held(held) if held.renewing.is_none() => Some(held.renew_at),
            _ => None,
        }
    }

    pub(super) fn is_renewing(&self, op: OpId) -> bool {
        matches!(self, Self::Held(held) if held.renewing == Some(op))
    }
}

impl Exchange {
    /// The key of the lock that is held or asked for.
    pub(super) fn lock_key(&self) -> Option<UploadId> {
        match &self.lease {
            Lease::None => None,
            Lease::Wanted(key) | Lease::Held(Held { key, .. }) => Some(key.clone()),
        }
    }

    pub(super) fn renew_if_due(&mut self, now: Now) {
        if self.lease.renewal().is_none_or(|at| at > now.monotonic) {
            return;
        }
        let op = self.op();
        if let Lease::Held(held) = &mut self.lease {
            held.renewing = Some(op);
            self.outputs
                .push_back(Output::Lock(op, LockCall::Renew { key: held.key.clone(), ttl: held.ttl }));
        }
    }

    pub(super) fn on_renewal(&mut self, now: Now, reply: LockReply) {
        let Lease::Held(held) = &mut self.lease else { return };
        held.renewing = None;
        let retry = now.monotonic.after(held.ttl / 6);
        match reply {
            LockReply::Renewed => {
                held.expires = now.monotonic.after(held.ttl);
                held.renew_at = now.monotonic.after(held.ttl / 3);
            }
            // A lock service that can't be reached may be back before the grant has run out.
            LockReply::Unavailable if retry < held.expires => held.renew_at = retry,
            _ => {
                held.renew_at = Instant::from_micros(u64::MAX);
                self.on_cancel(now, Cancel::LockLost);
            }
        }
    }
}
