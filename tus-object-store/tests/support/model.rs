//! A bucket as S3 describes itself: strong reads, writes on a condition, multipart uploads with their rules. And as networks
//! are: answers that are late or lost, effects that come after the answer was given up, 503s, 409s.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tus_object_store::{Bucket, Condition, Fault, Key, Object, Part, PartPage, Payload, Reply, Version};

use super::world::World;

/// How often things go wrong: once in so many requests; never if 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A 503, and no effect.
    pub refused: u64,
    /// The effect, and no answer.
    pub lost: u64,
    /// The effect comes long after the answer was given up.
    pub late: u64,
    /// A 409 to a conditional write.
    pub met: u64,
    /// Most requests take up to so many microseconds.
    pub delay: u64,
}

#[derive(Default)]
pub struct Model {
    pub objects: BTreeMap<String, Bytes>,
    versions: BTreeMap<String, String>,
    pub uploads: BTreeMap<String, (String, BTreeMap<usize, Bytes>)>,
    serial: u64,
    pub faults: Faults,
    pub min_part: usize,
    /// Requests by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// No request has an answer.
    pub down: bool,
}

pub fn etag(bytes: &[u8]) -> String {
    // Equal bytes, equal ETags: as MD5 has it.
    format!(
        "\"{:x}-{}\"",
        bytes.iter().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte))),
        bytes.len()
    )
}

/// What a server sees of the bucket.
#[derive(Clone)]
pub struct SimBucket {
    pub world: Arc<World>,
    pub model: Arc<Mutex<Model>>,
    pub server: u64,
}

impl std::fmt::Debug for SimBucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimBucket")
    }
}

struct Slot<T> {
    answer: Option<Result<T, Fault>>,
    waker: Option<Waker>,
}

struct Waits<T>(Arc<Mutex<Slot<T>>>);

impl<T> Future for Waits<T> {
    type Output = Result<T, Fault>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock().unwrap();
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl SimBucket {
    fn request<T: Send + 'static>(
        &self,
        kind: &'static str,
        conditional: bool,
        effect: impl FnOnce(&mut Model) -> Result<T, Fault> + Send + 'static,
    ) -> Reply<T> {
        let slot = Arc::new(Mutex::new(Slot { answer: None, waker: None }));
        let (faults, down) = {
            let mut model = self.model.lock().unwrap();
            *model.counts.entry(kind).or_default() += 1;
            (model.faults, model.down)
        };
        let (delay, back, refused, lost, late, met) = self.world.rng(|rng| {
            let slow = if faults.delay > 0 && rng.once_in(50) { 10 } else { 1 };
            (
                rng.below(faults.delay * slow + 1),
                rng.below(faults.delay + 1),
                rng.once_in(faults.refused),
                rng.once_in(faults.lost),
                rng.once_in(faults.late),
                conditional && rng.once_in(faults.met),
            )
        });
        let (world, model, server, answers) =
            (self.world.clone(), self.model.clone(), self.server, slot.clone());
        let late_by = if late { 5_000_000 + self.world.rng(|rng| rng.below(40_000_000)) } else { 0 };
        let job = move || {
            let answer = if down || refused {
                Err(Fault::Unclear("503".into()))
            } else if met {
                Err(Fault::Condition)
            } else {
                effect(&mut model.lock().unwrap())
            };
            let answer = if lost { Err(Fault::Unclear("the connection was cut".into())) } else { answer };
            // The way back.
            world.after(
                server,
                back,
                Box::new(move || {
                    let waker = {
                        let mut slot = answers.lock().unwrap();
                        slot.answer = Some(answer);
                        slot.waker.take()
                    };
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }),
            );
        };
        // Not the server's any more: it may die, the request is on its way.
        self.world.after(0, delay + late_by, Box::new(job));
        Box::pin(Waits(slot))
    }
}

impl Model {
    pub fn write(&mut self, key: &str, bytes: Bytes, tag: String) {
        self.objects.insert(key.into(), bytes);
        self.versions.insert(key.into(), tag);
    }
}

impl Bucket for SimBucket {
    fn get(&self, key: Key) -> Reply<Object> {
        self.request("get", false, move |model| {
            let bytes = model.objects.get(&*key).cloned().ok_or(Fault::Missing)?;
            Ok(Object { bytes, version: Version::new(model.versions.get(&*key).cloned(), None) })
        })
    }

    fn get_range(&self, key: Key, range: Range<u64>) -> Reply<Bytes> {
        self.request("get", false, move |model| {
            let bytes = model.objects.get(&*key).ok_or(Fault::Missing)?;
            let end = (range.end as usize).min(bytes.len());
            Ok(bytes.slice((range.start as usize).min(end)..end))
        })
    }

    fn size(&self, key: Key) -> Reply<u64> {
        self.request("head", false, move |model| {
            model.objects.get(&*key).map(|bytes| bytes.len() as u64).ok_or(Fault::Missing)
        })
    }

    fn put(&self, key: Key, payload: Payload, condition: Condition) -> Reply<Version> {
        let conditional = condition != Condition::None;
        self.request("put", conditional, move |model| {
            let holds = match &condition {
                Condition::None => true,
                Condition::Absent => !model.objects.contains_key(&*key),
                Condition::Is(version) => model.versions.get(&*key) == version.e_tag.as_ref(),
            };
            if !holds {
                return Err(Fault::Condition);
            }
            let bytes = payload.to_bytes();
            let tag = etag(&bytes);
            model.write(&key, bytes, tag.clone());
            Ok(Version::new(Some(tag), None))
        })
    }

    fn copy(&self, from: Key, to: Key) -> Reply<()> {
        self.request("copy", false, move |model| {
            let bytes = model.objects.get(&*from).cloned().ok_or(Fault::Missing)?;
            let tag = etag(&bytes);
            model.write(&to, bytes, tag);
            Ok(())
        })
    }

    fn delete(&self, key: Key) -> Reply<()> {
        self.request("delete", false, move |model| {
            model.objects.remove(&*key);
            model.versions.remove(&*key);
            Ok(())
        })
    }

    fn list(&self, prefix: Key, after: Option<Key>, limit: usize) -> Reply<Vec<Key>> {
        self.request("list", false, move |model| {
            let folder = format!("{prefix}/");
            let keys = model.objects.keys().filter(|key| key.starts_with(&folder));
            let keys = keys.filter(|key| after.as_ref().is_none_or(|after| key.as_str() > &**after));
            Ok(keys.take(limit).map(|key| Key::from(key.as_str())).collect())
        })
    }

    fn create_multipart(&self, key: Key) -> Reply<String> {
        self.request("create", false, move |model| {
            model.serial += 1;
            let name = format!("upload-{}", model.serial);
            model.uploads.insert(name.clone(), (key.to_string(), BTreeMap::new()));
            Ok(name)
        })
    }

    fn put_part(&self, key: Key, upload: String, number: usize, payload: Payload) -> Reply<String> {
        self.request("part", false, move |model| {
            let (of, parts) = model.uploads.get_mut(&upload).ok_or(Fault::Missing)?;
            assert_eq!(of.as_str(), &*key, "a part of another object");
            let bytes = payload.to_bytes();
            let tag = etag(&bytes);
            parts.insert(number, bytes);
            Ok(tag)
        })
    }

    fn complete_multipart(&self, key: Key, upload: String, parts: Vec<String>) -> Reply<()> {
        self.request("complete", false, move |model| {
            let (_, sent) = model.uploads.get(&upload).ok_or(Fault::Missing)?;
            let mut whole = Vec::new();
            for (number, tag) in parts.iter().enumerate() {
                let Some(bytes) = sent.get(&number).filter(|bytes| etag(bytes) == *tag) else {
                    return Err(Fault::Denied(format!("InvalidPart {number}")));
                };
                if bytes.len() < model.min_part && number + 1 < parts.len() {
                    return Err(Fault::Denied("EntityTooSmall".into()));
                }
                whole.extend_from_slice(bytes);
            }
            model.uploads.remove(&upload);
            model.serial += 1;
            let tag = format!("\"multi-{}\"", model.serial);
            model.write(&key, whole.into(), tag);
            Ok(())
        })
    }

    fn list_parts(&self, _: Key, upload: String, after: Option<usize>) -> Reply<PartPage> {
        self.request("parts", false, move |model| {
            let (_, parts) = model.uploads.get(&upload).ok_or(Fault::Missing)?;
            let from = after.map_or(0, |after| after + 1);
            let part =
                |(number, bytes): (&usize, &Bytes)| Part::new(*number, bytes.len() as u64, etag(bytes));
            // Short pages, so that there are several.
            let page: Vec<Part> = parts.range(from..).take(3).map(part).collect();
            let more = page.last().is_some_and(|last| parts.range(last.number + 1..).next().is_some());
            Ok(PartPage::new(page, more))
        })
    }

    fn abort_multipart(&self, _: Key, upload: String) -> Reply<()> {
        self.request("abort", false, move |model| {
            model.uploads.remove(&upload);
            Ok(())
        })
    }
}
