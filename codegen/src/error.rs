//! The one error of this crate: a text for a person, with the place in the `.proto` where there is one.

use std::{fmt, io};

use prost_types::FileDescriptorProto;

/// Why a `.proto` could not be compiled.
pub(crate) struct BuildError(String);

impl BuildError {
    /// An error that has no place in a source file.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// An error about the element of `file` that descriptor path `path` leads to.
    pub(crate) fn at(file: &FileDescriptorProto, path: &[i32], text: &str) -> Self {
        Self(format!("{}: {text}", place(file, path)))
    }
}

/// `file:line:column` of an element, counted from 1, or only the file if the source is not known.
pub(crate) fn place(file: &FileDescriptorProto, path: &[i32]) -> String {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let span = locations.filter(|location| location.path == path).map(|location| &location.span).next();
    match span.map(Vec::as_slice) {
        Some([line, column, ..]) => format!("{}:{}:{}", file.name(), line + 1, column + 1),
        _ => file.name().to_owned(),
    }
}

// `unwrap()` in a build script prints the Debug form: keep it as readable as the other.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BuildError {}

impl From<BuildError> for io::Error {
    fn from(error: BuildError) -> Self {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}
