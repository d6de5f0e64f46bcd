//! The file that says which process serves (brpc: `pid_file`).

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process;

use crate::error::RpcError;

/// A file with the number of this process, removed when this is dropped; unless it has got another number meanwhile,
/// from the process that goes on with the work.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the file, in a folder that is made where it is missing. Blocks the thread.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn write(path: PathBuf) -> Result<Self, RpcError> {
        let written = match path.parent() {
            Some(folder) => fs::create_dir_all(folder),
            None => Ok(()),
        };
        match written.and_then(|()| fs::write(&path, format!("{}\n", process::id()))) {
            Ok(()) => Ok(PidFile(path)),
            Err(error) => Err(cannot_write(&path.display().to_string(), error)),
        }
    }
}

fn cannot_write(path: &str, error: io::Error) -> RpcError {
    let error = RpcError::from(error);
    RpcError::new(error.code(), format!("Fail to write pid_file={path}: {}", error.text()))
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let is_ours = fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == process::id().to_string());
        if is_ours {
            let _ = fs::remove_file(&self.0); // gone already, which is the state wanted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_as_long_as_its_process() {
        let folder = std::env::temp_dir().join(format!("bobbin-pid-{}", process::id()));
        let path = folder.join("server.pid");
        let file = PidFile::write(path.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::id()));
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(path.clone()).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n", "that of another process");
        assert!(PidFile::write(path.join("below a file")).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
