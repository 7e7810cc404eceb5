//! What `serve --demo` sets so that it runs without any configuration: a secret for tokens that
//! stays the same over restarts, kept in the data folder.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use rand::Rng;

/// Where the demo's secret lies.
pub fn secret_file(data_dir: &Path) -> PathBuf {
    data_dir.join("demo-secret")
}

/// Draws the demo's secret unless it is there; for its owner alone to read.
pub fn ensure_secret(data_dir: &Path) -> io::Result<PathBuf> {
    const SECRET_BYTES: usize = 36;
    const OWNER_ONLY: u32 = 0o600;
    let path = secret_file(data_dir);
    std::fs::create_dir_all(data_dir)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&path);
    match file {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
        Err(error) => Err(error),
        Ok(mut file) => {
            let mut secret = [0; SECRET_BYTES];
            rand::rng().fill_bytes(&mut secret);
            writeln!(file, "{}", BASE64_STANDARD_NO_PAD.encode(secret))?;
            Ok(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_secret_is_drawn_once_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let path = ensure_secret(&data_dir).unwrap();
        let secret = std::fs::read_to_string(&path).unwrap();
        assert_eq!(secret.trim().len(), 48);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(ensure_secret(&data_dir).unwrap(), path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), secret);
    }
}
