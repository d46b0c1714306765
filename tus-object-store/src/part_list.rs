//! S3's `ListParts`, which the crate `object_store` lacks: a signed URL of its own, read by a client of its own.

use std::{sync::Arc, time::Duration};

use object_store::{
    aws::AmazonS3,
    path::Path,
    signer::{SignedUrlOptions, Signer},
};
use serde::Deserialize;

use crate::{
    bucket::{Fault, Part, PartPage, Reply},
    cloud::ListParts,
};

/// How long a URL is valid. It is used at once; clocks may differ.
const VALID: Duration = Duration::from_secs(300);

/// Lists parts on S3 and stores that speak it.
pub(crate) struct S3Parts {
    pub store: Arc<AmazonS3>,
    pub client: reqwest::Client,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default, rename = "Part")]
    parts: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    part_number: usize,
    #[serde(rename = "ETag")]
    e_tag: String,
    size: u64,
}

fn parse(text: &str) -> Result<PartPage, String> {
    let document: Document = quick_xml::de::from_str(text).map_err(|error| error.to_string())?;
    let part = |listed: Listed| {
        let number = listed.part_number.checked_sub(1).ok_or("a part has the number 0")?;
        Ok(Part::new(number, listed.size, listed.e_tag))
    };
    let parts = document.parts.into_iter().map(part).collect::<Result<_, String>>()?;
    Ok(PartPage::new(parts, document.is_truncated))
}

impl ListParts for S3Parts {
    fn list_parts(&self, path: Path, upload: String, after: Option<usize>) -> Reply<PartPage> {
        let (store, client) = (self.store.clone(), self.client.clone());
        Box::pin(async move {
            let unclear = |error: &dyn std::fmt::Display| Fault::Unclear(error.to_string());
            let mut query = vec![("uploadId".to_owned(), upload)];
            if let Some(after) = after {
                query.push(("part-number-marker".to_owned(), (after + 1).to_string()));
            }
            let options = SignedUrlOptions::new().with_query(query);
            let url = store.signed_url_opts(reqwest::Method::GET, &path, VALID, &options).await;
            let url = url.map_err(|error| unclear(&error))?;
            let response = client.get(url).send().await.map_err(|error| unclear(&error.without_url()))?;
            let status = response.status();
            let text = response.text().await.map_err(|error| unclear(&error.without_url()))?;
            match status.as_u16() {
                200 => parse(&text)
                    .map_err(|error| Fault::Denied(format!("a list of parts is not understood: {error}"))),
                404 => Err(Fault::Missing),
                400..=499 => Err(Fault::Denied(format!("{status}: {text}"))),
                _ => Err(Fault::Unclear(format!("{status}: {text}"))),
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_parts_is_read() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListPartsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId>
<PartNumberMarker>1</PartNumberMarker><NextPartNumberMarker>4</NextPartNumberMarker><MaxParts>2</MaxParts>
<IsTruncated>true</IsTruncated><Part><PartNumber>2</PartNumber><LastModified>2026-11-30T16:00:00.000Z</LastModified>
<ETag>&quot;7778aef83f66abc1fa1e8477f296d394&quot;</ETag><Size>10485760</Size></Part><Part><PartNumber>4</PartNumber>
<ETag>"aaaa18db4cc2f85cedef654fccc4a4x8"</ETag><Size>7</Size></Part><StorageClass>STANDARD</StorageClass></ListPartsResult>"#;
        let page = parse(text).unwrap();
        let tag = "\"7778aef83f66abc1fa1e8477f296d394\"".to_owned();
        assert_eq!(page.parts[0], Part::new(1, 10_485_760, tag));
        assert_eq!((page.parts[1].number, page.parts[1].size, page.more), (3, 7, true));
        let none = parse("<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>").unwrap();
        assert_eq!(none, PartPage::default());
        assert!(parse("<ListPartsResult><Part><Size>x</Size></Part></ListPartsResult>").is_err());
        assert!(parse("not XML").is_err());
    }
}
