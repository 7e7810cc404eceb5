//! The contract on SQLite, and what only a file can suffer.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use super::*;
use crate::event_log::contract::{Case, Store, run};

struct FileStore {
    folder: tempfile::TempDir,
}

impl FileStore {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }
}

#[async_trait]
impl Store for FileStore {
    async fn open(&self) -> Arc<dyn EventLog> {
        Arc::new(SqliteLog::open(&self.path()).expect("opens"))
    }
    fn is_durable(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract() {
    for case in Case::ALL {
        run(case, &FileStore::new()).await;
    }
}
