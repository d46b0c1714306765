//! Opening: the bucket is tried before anything is trusted to it. Several servers that speak S3 let two writers win a
//! compare-and-set; uploads would be lost there.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use tus_proto::Instant;

use crate::{
    bucket::{Condition, Fault, Key, Version},
    requests::{PATIENCE, Pauses, Requests},
};

/// How many writers meet in the trial.
const WRITERS: usize = 16;

/// How many numbers an opening has, where locks are not leases.
const NUMBERS: u32 = 32;

/// Why a store could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The executor runs no tasks: wrap it, or use a runtime that does.
    NoTasks,
    /// The bucket can't be reached, or rejects us.
    Bucket(Fault),
    /// The bucket does not keep a promise that uploads depend on: this one.
    ConcatRejection(&'static str),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTasks => f.write_str(
                "the executor runs no asynchronous tasks, which an object store needs: wrap it with WithRuntime",
            ),
            Self::Bucket(fault) => write!(f, "the bucket can't be used: {fault}"),
            Self::ConcatRejection(why) => write!(f, "the bucket can't be used, because uploads would be lost: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl Requests {
    /// Counts this opening, and returns a number above all that earlier ones have given out.
    pub(crate) async fn count_opening(&self) -> Result<u64, OpenError> {
        let key: Key = "m/opening".into();
        let mut pauses = Pauses::new(self.now().after(PATIENCE));
        loop {
            let (before, condition) = match self.clear(|bucket| bucket.get(key.clone())).await {
                Ok(object) => {
                    let text = String::from_utf8_lossy(&object.bytes).into_owned();
                    let count = text.split(' ').next().and_then(|count| count.parse::<u64>().ok());
                    (count.unwrap_or(0), Condition::Is(object.version))
                }
                Err(Fault::Missing) => (0, Condition::Absent),
                Err(fault) => return Err(OpenError::Bucket(fault)),
            };
            // With a nonce: an answer that is lost costs a number.
            let text = format!("{} {:016x}", before + 1, self.random());
            match self
                .once(Duration::ZERO, self.bucket.put(key.clone(), Bytes::from(text).into(), condition))
                .await
            {
                Ok(_) => return Ok((before + 1) << NUMBERS),
                Err(Fault::Condition | Fault::Unclear(_)) if pauses.pause(self).await => {}
                Err(fault) => return Err(OpenError::Bucket(fault)),
            }
        }
    }

    /// Tries whether the bucket's compare-and-set holds.
    pub(crate) async fn probe(&self) -> Result<(), OpenError> {
        let until = self.now().after(PATIENCE);
        let mut pauses = Pauses::new(until);
        loop {
            let key: Key = format!("m/probe/{:016x}", self.random()).into();
            let result = self.probe_at(&key, until).await;
            let _ = self.clear(|bucket| bucket.delete(key.clone())).await;
            match result {
                // An answer that is lost decides nothing.
                Err(OpenError::Bucket(Fault::Unclear(why))) => {
                    if !pauses.pause(self).await {
                        return Err(OpenError::Bucket(Fault::Unclear(why)));
                    }
                }
                other => return other,
            }
        }
    }

    async fn probe_at(&self, key: &Key, until: Instant) -> Result<(), OpenError> {
        let first = self.try_put(key, "1", Condition::Absent).await?;
        let first =
            first.ok_or(OpenError::ConcatRejection("an object could not be created that is not there"))?;
        if self.try_put(key, "2", Condition::Absent).await?.is_some() {
            return Err(OpenError::ConcatRejection(
                "an object that is there was created again (If-None-Match is ignored)",
            ));
        }
        let second = self.try_put(key, "3", Condition::Is(first.clone())).await?;
        let second = second
            .ok_or(OpenError::ConcatRejection("an object could not be replaced by its ETag (If-Match)"))?;
        if self.try_put(key, "4", Condition::Is(first)).await?.is_some() {
            return Err(OpenError::ConcatRejection(
                "an object was replaced by an outdated ETag (If-Match is ignored)",
            ));
        }
        self.expect(key, until, &["3"]).await?;
        let texts: Vec<String> = (0..WRITERS).map(|writer| format!("writer {writer}")).collect();
        let puts = texts.iter().map(|text| self.try_put(key, text, Condition::Is(second.clone())));
        let mut winners = Vec::new();
        let mut unclear = false;
        for (text, result) in texts.iter().zip(join_all(puts).await) {
            match result {
                Ok(Some(_)) => winners.push(text.as_str()),
                Ok(None) => {}
                Err(OpenError::Bucket(Fault::Unclear(_))) => unclear = true,
                Err(error) => return Err(error),
            }
        }
        match winners.as_slice() {
            [] => Ok(()),
            [_] if unclear => Ok(()),
            [_] => self.expect(key, until, &winners).await,
            _ => {
                Err(OpenError::ConcatRejection("of writers that met, more than one replaced the same object"))
            }
        }
    }

    async fn try_put(
        &self,
        key: &Key,
        text: &str,
        condition: Condition,
    ) -> Result<Option<Version>, OpenError> {
        let payload = Bytes::copy_from_slice(text.as_bytes()).into();
        match self.once(Duration::ZERO, self.bucket.put(key.clone(), payload, condition)).await {
            Ok(version) if version == Version::default() => {
                Err(OpenError::ConcatRejection("it names no version (ETag) of what was written"))
            }
            Ok(version) => Ok(Some(version)),
            Err(Fault::Condition) => Ok(None),
            Err(fault) => Err(OpenError::Bucket(fault)),
        }
    }

    async fn expect(&self, key: &Key, until: Instant, texts: &[&str]) -> Result<(), OpenError> {
        let read = self.clear_by(until, Duration::ZERO, |bucket| bucket.get(key.clone())).await;
        match read {
            Ok(object) if texts.iter().any(|text| object.bytes == text.as_bytes()) => Ok(()),
            Ok(_) | Err(Fault::Missing) => {
                Err(OpenError::ConcatRejection("what was written last was not what was read"))
            }
            Err(fault) => Err(OpenError::Bucket(fault)),
        }
    }
}
