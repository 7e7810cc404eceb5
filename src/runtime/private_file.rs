//! Files and folders that hold personal data: for their owner alone, whatever the umask is.

use std::{
    ffi::OsString,
    fs::{DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// What SQLite keeps beside a database. It gives a new one of these the database's own mode.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Makes the file of a database, unless it is there, before SQLite opens it; one that others may
/// read is closed to them, with what stands beside it.
pub fn database(path: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(path)?;
    close_to_others(path)?;
    for suffix in BESIDE {
        let mut name = OsString::from(path);
        name.push(suffix);
        match close_to_others(Path::new(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes the folder and those above it, unless they are there; those that are there stay as they
/// are.
pub fn folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

fn close_to_others(path: &Path) -> io::Result<()> {
    if path.metadata()?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(FILE_MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone_and_what_was_open_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        let made = parent.path().join("data/deeper");
        folder(&made).unwrap();
        folder(&made).unwrap();
        assert_eq!((mode(&made), mode(made.parent().unwrap())), (0o700, 0o700));

        let file = made.join("a.db");
        database(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        let beside = made.join("a.db-wal");
        for path in [&file, &beside] {
            std::fs::write(path, "kept").unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }
        database(&file).unwrap();
        assert_eq!((mode(&file), mode(&beside)), (0o600, 0o600));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    }
}
