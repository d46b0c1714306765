//! What a store does by itself between requests: it flushes, removes what has expired, gives back space, and puts uploads
//! whose bytes are spread over several files into one, and computes digests.

pub(crate) mod consolidate;
pub(crate) mod digest;
pub(crate) mod flush;
pub(crate) mod reclaim;
pub(crate) mod sweep;
