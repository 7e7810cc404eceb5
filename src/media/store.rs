//! Where media are kept: bytes, and beside them what they are.
//!
//! Each copy has a folder of its own, `{tenant}/{shard}/{id}/`, with `content` and, written last,
//! `about.json`: a copy is there when the latter is. So a crash leaves nothing that looks like a
//! copy and is none, and deleting is deleting a folder.
//!
//! In a directory the bytes are first written into `tmp/` and renamed when they are complete and
//! synced; in an S3-compatible store the upload itself appears as a whole or not at all.
//!
//! **Invariant:** what is here is complete, and its bytes have the size and SHA-256 that
//! `about.json` says.

use std::{
    io,
    ops::Range,
    os::unix::fs::DirBuilderExt,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path, prefix::PrefixStore,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ByteStream, settings::MediaSettings};
use crate::domain::{
    ids::{ClientId, MediaId},
    message::StoredMedia,
    time::Timestamp,
};

/// Bytes gathered before they are written: a part of an S3 upload has 5 MiB at least.
const S3_PART_BYTES: usize = 5 << 20;
const FILE_PART_BYTES: usize = 256 << 10;
/// Parts of one upload on their way at once. So an upload holds so many parts in memory.
const PARTS_AT_ONCE: usize = 2;
/// A file in `tmp/` that was not written for so long is of a process that has ended.
const LEFT_OVER_AGE: Duration = Duration::from_secs(24 * 3600);
/// Folders of a tenant: its copies are spread over so many by their ids.
const SHARDS: u128 = 256;

/// Why the store did not do something. Names no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the media store can't be used: {reason}")]
    Unavailable { reason: String },
    /// It was there a moment ago.
    #[error("the medium is not there any more")]
    Gone,
}

/// What a copy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub mime_type: String,
    pub size: u64,
    /// Hexadecimal.
    pub sha256: String,
    pub filename: Option<String>,
    pub created_at: Timestamp,
    /// A contact sent it: it goes with its message. Else it was uploaded.
    pub came_in: bool,
}

impl About {
    /// As a domain event tells it.
    pub fn stored(&self) -> StoredMedia {
        StoredMedia {
            mime_type: self.mime_type.clone(),
            size: self.size,
            sha256: self.sha256.clone(),
        }
    }
}

/// The store of all tenants' media.
pub struct MediaStore {
    objects: Arc<dyn ObjectStore>,
    /// The root of one that is a directory.
    directory: Option<PathBuf>,
    part_bytes: usize,
}

impl MediaStore {
    /// Opens the store that the settings name. Blocks while it looks for left-overs.
    pub fn open(settings: &MediaSettings) -> Result<Self, StoreError> {
        if settings.s3.bucket.is_empty() {
            Self::in_directory(&settings.directory)
        } else {
            Self::in_s3(settings)
        }
    }

    fn in_directory(root: &FilePath) -> Result<Self, StoreError> {
        let tmp = root.join("tmp");
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&tmp);
        made.and_then(|()| remove_left_overs(&tmp)).map_err(|error| {
            let root = root.display();
            StoreError::Unavailable { reason: format!("the folder {root}: {error}") }
        })?;
        let files = LocalFileSystem::new_with_prefix(root).map_err(unavailable)?;
        Ok(Self {
            objects: Arc::new(files.with_fsync(true)),
            directory: Some(root.to_owned()),
            part_bytes: FILE_PART_BYTES,
        })
    }

    fn in_s3(settings: &MediaSettings) -> Result<Self, StoreError> {
        let s3 = &settings.s3;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&s3.bucket)
            .with_allow_http(s3.allow_http)
            .with_virtual_hosted_style_request(s3.virtual_hosted);
        if !s3.region.is_empty() {
            builder = builder.with_region(&s3.region);
        }
        if !s3.endpoint.is_empty() {
            builder = builder.with_endpoint(&s3.endpoint);
        }
        if let (Some(id), Some(key)) = (&s3.access_key_id, &s3.secret_access_key) {
            builder = builder.with_access_key_id(id.expose()).with_secret_access_key(key.expose());
        }
        let bucket = builder.build().map_err(unavailable)?;
        let objects: Arc<dyn ObjectStore> = match s3.prefix.as_str() {
            "" => Arc::new(bucket),
            prefix => Arc::new(PrefixStore::new(bucket, prefix)),
        };
        Ok(Self { objects, directory: None, part_bytes: S3_PART_BYTES })
    }

    /// Begins to write a copy.
    pub async fn begin(&self, client: ClientId, id: MediaId) -> Result<Writing<'_>, StoreError> {
        let content = content(client, id);
        let target = match self.directory {
            Some(_) => Path::from(format!("tmp/{}", Uuid::now_v7())),
            None => content.clone(),
        };
        let upload = self.objects.put_multipart(&target).await.map_err(unavailable)?;
        Ok(Writing {
            store: self,
            client,
            id,
            target,
            upload: Some(WriteMultipart::new_with_chunk_size(upload, self.part_bytes)),
            digest: Sha256::new(),
            size: 0,
        })
    }

    /// What the copy is, `None` when there is none.
    pub async fn about(&self, client: ClientId, id: MediaId) -> Result<Option<About>, StoreError> {
        let found = match self.objects.get(&about(client, id)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let json = found.bytes().await.map_err(unavailable)?;
        serde_json::from_slice(&json).map(Some).map_err(unavailable)
    }

    /// The bytes of a part of a copy; `range` lies within it.
    pub async fn read(
        &self,
        client: ClientId,
        id: MediaId,
        range: Range<u64>,
    ) -> Result<ByteStream, StoreError> {
        if range.is_empty() {
            return Ok(futures_util::stream::empty().boxed());
        }
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(range)));
        match self.objects.get_opts(&content(client, id), options).await {
            Ok(found) => Ok(found.into_stream().map_err(io::Error::other).boxed()),
            Err(object_store::Error::NotFound { .. }) => Err(StoreError::Gone),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Deletes a copy with all that is kept beside it; one that is not there is no error.
    pub async fn delete(&self, client: ClientId, id: MediaId) -> Result<(), StoreError> {
        let folder = folder(client, id);
        if let Some(root) = &self.directory {
            return match tokio::fs::remove_dir_all(root.join(&folder)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable(error)),
                _ => Ok(()),
            };
        }
        let inside: Vec<_> = self
            .objects
            .list(Some(&Path::from(folder)))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(unavailable)?;
        for location in inside {
            match self.objects.delete(&location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Ok(())
    }

    /// A small text beside a copy, `None` when there is none.
    pub(super) async fn note(
        &self,
        client: ClientId,
        id: MediaId,
        name: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        match self.objects.get(&beside(client, id, name)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(unavailable),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    pub(super) async fn put_note(
        &self,
        client: ClientId,
        id: MediaId,
        name: &str,
        text: Vec<u8>,
    ) -> Result<(), StoreError> {
        let place = beside(client, id, name);
        self.objects.put(&place, PutPayload::from(text)).await.map_err(unavailable)?;
        Ok(())
    }

    /// Bytes that the tenant keeps. Takes as long as listing them all takes.
    pub async fn bytes_of(&self, client: ClientId) -> Result<u64, StoreError> {
        let of_tenant = Path::from(client.to_string());
        let mut listed = self.objects.list(Some(&of_tenant));
        let mut bytes = 0;
        while let Some(object) = listed.next().await {
            bytes += object.map_err(unavailable)?.size;
        }
        Ok(bytes)
    }
}

/// A copy that is being written. Dropped before it is finished, it leaves nothing.
pub struct Writing<'a> {
    store: &'a MediaStore,
    client: ClientId,
    id: MediaId,
    target: Path,
    upload: Option<WriteMultipart>,
    digest: Sha256,
    size: u64,
}

impl Writing<'_> {
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let Some(upload) = &mut self.upload else { return Err(StoreError::Gone) };
        upload.wait_for_capacity(PARTS_AT_ONCE).await.map_err(unavailable)?;
        self.digest.update(&bytes);
        self.size += bytes.len() as u64;
        upload.put(bytes);
        Ok(())
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of what was written so far.
    pub fn sha256(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// Makes it a copy, durably.
    pub async fn finish(
        mut self,
        mime_type: String,
        filename: Option<String>,
        created_at: Timestamp,
        came_in: bool,
    ) -> Result<About, StoreError> {
        let Some(upload) = self.upload.take() else { return Err(StoreError::Gone) };
        let sha256 = hex::encode(self.sha256());
        let stored = About { mime_type, size: self.size, sha256, filename, created_at, came_in };
        upload.finish().await.map_err(unavailable)?;
        let (client, id, objects) = (self.client, self.id, &self.store.objects);
        let content = content(client, id);
        if self.target != content {
            objects.rename(&self.target, &content).await.map_err(unavailable)?;
        }
        let json = serde_json::to_vec(&stored).map_err(unavailable)?;
        objects.put(&about(client, id), PutPayload::from(json)).await.map_err(unavailable)?;
        Ok(stored)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = upload.abort().await {
                    tracing::debug!(%error, "an upload that was broken off could not be undone");
                }
            });
        }
    }
}

fn remove_left_overs(tmp: &FilePath) -> io::Result<()> {
    for entry in std::fs::read_dir(tmp)? {
        let entry = entry?;
        let untouched = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if untouched > LEFT_OVER_AGE {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn folder(client: ClientId, id: MediaId) -> String {
    // The last bits of a UUIDv7 are random, the first are its time.
    format!("{client}/{:02x}/{id}", id.0.as_u128() % SHARDS)
}

fn beside(client: ClientId, id: MediaId, name: &str) -> Path {
    Path::from(format!("{}/{name}", folder(client, id)))
}

fn content(client: ClientId, id: MediaId) -> Path {
    beside(client, id, "content")
}

fn about(client: ClientId, id: MediaId) -> Path {
    beside(client, id, "about.json")
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable { reason: error.to_string() }
}
