//! From `.proto` files to descriptors, through `protox`. Never looks into what they say.

use std::path::{Path, PathBuf};

use prost_types::{FileDescriptorProto, FileDescriptorSet};
use protox::prost::Message;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor, ReflectMessage};

use crate::error::BuildError;

/// Parsed and checked `.proto` files.
pub(crate) struct Sources {
    /// Descriptors with source positions, imports included, each file after what it imports.
    pub(crate) descriptors: FileDescriptorSet,
    /// The files read from disk: a change in any of them may change the result.
    pub(crate) files_read: Vec<PathBuf>,
    /// The same files as `descriptors`, in the same order.
    pub(crate) encoded: Vec<EncodedFile>,
}

/// A descriptor as the runtime gets it.
pub(crate) struct EncodedFile {
    /// A `FileDescriptorProto` without source positions and comments, but with custom options, which the types of
    /// `prost-types` drop.
    pub(crate) bytes: Vec<u8>,
    /// The files that it imports, by index.
    pub(crate) imports: Vec<usize>,
}

/// Reads `protos` and everything they import.
pub(crate) fn load(
    protos: &[impl AsRef<Path>],
    includes: &[impl AsRef<Path>],
) -> Result<Sources, BuildError> {
    if protos.is_empty() {
        return Err(BuildError::new("no .proto file was given"));
    }
    for proto in protos.iter().map(AsRef::as_ref) {
        refuse_missing(proto, includes)?;
    }
    let mut compiler = protox::Compiler::new(includes).map_err(error_with_place)?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(protos).map_err(error_with_place)?;
    let pool = compiler.descriptor_pool();
    Ok(Sources {
        encoded: pool.files().map(|file| encode(&file, &pool)).collect(),
        descriptors: compiler.file_descriptor_set(),
        files_read: compiler.files().filter_map(|file| file.path().map(Path::to_owned)).collect(),
    })
}

fn encode(file: &FileDescriptor, pool: &DescriptorPool) -> EncodedFile {
    let mut message =
        DynamicMessage::decode(FileDescriptorProto::default().descriptor(), file.encode_to_vec().as_slice())
            .expect("a descriptor is what was encoded");
    message.clear_field_by_name("source_code_info");
    let imports = file.dependencies().filter_map(|import| pool.files().position(|file| file == import));
    EncodedFile { bytes: message.encode_to_vec(), imports: imports.collect() }
}

/// `protox` says of a file that does not exist that no include folder has it, which leads astray.
fn refuse_missing(proto: &Path, includes: &[impl AsRef<Path>]) -> Result<(), BuildError> {
    if proto.exists() || includes.iter().any(|include| include.as_ref().join(proto).exists()) {
        return Ok(());
    }
    let here = std::env::current_dir().unwrap_or_default();
    Err(BuildError::new(format!("{}: there is no such file, seen from {}", proto.display(), here.display())))
}

/// Only the Debug form of a `protox` error has file, line and column in it; at the end of a file, not even that.
fn error_with_place(error: protox::Error) -> BuildError {
    let text = format!("{error:?}");
    match error.file() {
        Some(file) if !text.starts_with(file) => BuildError::new(format!("{file}: {text}")),
        _ => BuildError::new(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::load;

    #[test]
    fn imports_are_watched_and_built_in_files_are_not() {
        let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protos");
        let sources = load(&[protos.join("shop/stock.proto")], &[&protos]).unwrap();
        assert_eq!(sources.files_read, [protos.join("shop/order.proto"), protos.join("shop/stock.proto")]);
        let names: Vec<_> = sources.descriptors.file.iter().map(|file| file.name()).collect();
        assert!(names.contains(&"google/protobuf/wrappers.proto"), "{names:?}");
    }
}
