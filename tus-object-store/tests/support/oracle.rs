//! What holds of every record at every moment, looked at from inside the bucket: a record names only what is there, it moves
//! forward alone, and only the holder of its lease moves its offset. A bug that later writes make up for is seen here.

use serde_json::Value;

use super::model::{Model, etag};

/// The upload whose object or record a key is.
fn id_of(key: &str) -> &str {
    key.split('/').nth(2).unwrap_or_default()
}

impl Model {
    /// Looks at what a write of a record by a server changes.
    pub fn check_write(&mut self, server: u64, key: &str, old: Option<&[u8]>) {
        if !self.strict || !key.starts_with("u/") {
            return;
        }
        let new: Value = serde_json::from_slice(&self.objects[key]).unwrap();
        let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
        if let Some(old) = old {
            let old: Value = serde_json::from_slice(old).unwrap();
            assert_eq!(number(&new, "counter"), number(&old, "counter") + 1, "{key}: a write is lost");
            assert!(number(&new, "fence") >= number(&old, "fence"), "{key}: a lower fence");
            assert!(old["state"] == "live" || new["state"] != "live", "{key}: a tombstone lives");
            let (before, after) = (number(&old, "offset"), number(&new, "offset"));
            assert!(after >= before, "{key}: from offset {before} to {after}");
            let owner = old["lease"]["owner"].as_u64();
            let holder = owner.and_then(|owner| self.owners.get(&owner));
            let moves = after > before;
            assert!(
                !moves || holder.is_none_or(|holder| *holder == server),
                "{key}: another's lease is ignored"
            );
            let lease = &new["lease"];
            if lease["fence"] != old["lease"]["fence"]
                && let Some(owner) = lease["owner"].as_u64()
            {
                self.owners.insert(owner, server);
            }
        }
        self.check_bytes(key);
    }

    /// Looks at the upload's record after something of its bytes has changed.
    pub fn check_bytes_of(&self, key: &str) {
        if !self.strict || !key.starts_with("d/") {
            return;
        }
        let end = format!("/{}", id_of(key));
        let record = self.objects.keys().find(|key| key.starts_with("u/") && key.ends_with(&end));
        if let Some(record) = record {
            self.check_bytes(record);
        }
    }

    fn object(&self, id: &str, name: &Value) -> Option<u64> {
        let end = format!("/{id}/{}", name.as_str().unwrap());
        let mut objects = self.objects.iter();
        let found = objects.find(|(key, _)| key.starts_with("d/") && key.ends_with(&end));
        found.map(|(_, bytes)| bytes.len() as u64)
    }

    /// All bytes that a record names are there.
    fn check_bytes(&self, record: &str) {
        let document: Value = serde_json::from_slice(&self.objects[record]).unwrap();
        if document["state"] != "live" {
            return;
        }
        let id = document["id"].as_str().unwrap();
        let mut sum = 0;
        for extent in document["extents"].as_array().unwrap() {
            let (len, place) = (extent["len"].as_u64().unwrap(), &extent["place"]);
            sum += len;
            let parts = &place["parts"];
            match parts["upload"].as_str().map(|upload| self.uploads.get(upload)) {
                Some(Some((_, sent))) => {
                    let mut whole = 0;
                    for (number, tag) in parts["parts"].as_array().unwrap().iter().enumerate() {
                        let part = sent.get(&number).filter(|bytes| *tag == etag(bytes));
                        let part =
                            part.unwrap_or_else(|| panic!("{record}: part {number} is not the named one"));
                        whole += part.len() as u64;
                    }
                    assert_eq!(whole, len, "{record}: parts of another length");
                }
                over => {
                    // It was completed, and the record does not say so yet; or it is an object.
                    let name = if over.is_some() { &parts["key"] } else { &place["object"] };
                    let found = self.object(id, name);
                    assert!(
                        found.is_some_and(|found| found >= len),
                        "{record}: {name} has {found:?} of {len} bytes"
                    );
                }
            }
        }
        let tail = &document["tail"];
        if let Some(len) = tail["object"]["len"].as_u64() {
            assert_eq!(self.object(id, &tail["object"]["key"]), Some(len), "{record}: the tail is not there");
            sum += len;
        } else if let Some(text) = tail["inline"].as_str() {
            sum += (text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count()) as u64;
        }
        assert_eq!(document["offset"].as_u64(), Some(sum), "{record}: the offset is not what its bytes are");
    }
}
