//! The descriptors that generated code carries: one static for each package with services, as a byte string in the
//! source, so that a generated file needs no other file beside it.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use prost_types::FileDescriptorProto;

use crate::sources::EncodedFile;

/// The field `file` of `google.protobuf.FileDescriptorSet`, with its wire type.
const SET_FILE_KEY: u8 = 1 << 3 | 2;
/// Bytes in one line of source.
const LINE_BYTES: usize = 32;

/// The name of the static of a package. No message is in its way: prost makes types of them, not values.
pub(crate) fn static_name(package: &str) -> String {
    let prefix = package.to_uppercase().replace('.', "_");
    if prefix.is_empty() { "SCHEMA".to_owned() } else { format!("{prefix}_SCHEMA") }
}

/// The source of the static of each package that has services, by its name.
pub(crate) fn for_packages(
    files: &[FileDescriptorProto],
    encoded: &[EncodedFile],
    runtime: &str,
) -> HashMap<String, String> {
    let has_service =
        |file: &&FileDescriptorProto| file.service.iter().any(|service| !service.method.is_empty());
    let packages: BTreeSet<&str> = files.iter().filter(has_service).map(|file| file.package()).collect();
    let source = |package: &str| {
        let roots =
            files.iter().enumerate().filter(|(_, file)| file.package() == package).map(|(index, _)| index);
        render(package, &encoded_set(roots, encoded), runtime)
    };
    packages.into_iter().map(|package| (package.to_owned(), source(package))).collect()
}

/// A `FileDescriptorSet` of `roots` and all that they import; the order of `files` has imports first.
fn encoded_set(roots: impl Iterator<Item = usize>, files: &[EncodedFile]) -> Vec<u8> {
    let mut queue: Vec<usize> = roots.collect();
    let mut wanted = BTreeSet::new();
    while let Some(index) = queue.pop() {
        if wanted.insert(index) {
            queue.extend(&files[index].imports);
        }
    }
    let mut set = Vec::new();
    for index in wanted {
        let bytes = &files[index].bytes;
        set.push(SET_FILE_KEY);
        put_varint(&mut set, bytes.len());
        set.extend_from_slice(bytes);
    }
    set
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn render(package: &str, set: &[u8], rt: &str) -> String {
    let mut literal = String::new();
    for line in set.chunks(LINE_BYTES) {
        let _ = write!(literal, "\\\n    {}", line.escape_ascii());
    }
    let of = if package.is_empty() { "the files without a package".into() } else { format!("`{package}`") };
    // A space at the start of a line would be taken for indentation.
    let literal = literal.replace("\\\n     ", "\\\n    \\x20");
    format!(
        "
/// The descriptors of {of} and of all that is imported there.
#[allow(dead_code, reason = \"not every program looks at descriptors\")]
pub static {name}: {rt}::Schema = {rt}::Schema::new(
    b\"{literal}\",
);
",
        name = static_name(package)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statics_are_named_after_packages() {
        assert_eq!(static_name("shop.v1"), "SHOP_V1_SCHEMA");
        assert_eq!(static_name(""), "SCHEMA");
    }

    #[test]
    fn a_set_has_what_is_imported_once_and_first() {
        let file =
            |bytes: &[u8], imports: &[usize]| EncodedFile { bytes: bytes.into(), imports: imports.into() };
        let files = [file(b"a", &[]), file(b"b", &[]), file(b"c", &[0]), file(&[b'd'; 200], &[2, 0])];
        let set = encoded_set([3].into_iter(), &files);
        assert_eq!(set[..6], *b"\n\x01a\n\x01c");
        assert_eq!(set[6..9], [b'\n', 0xc8, 1]);
        assert_eq!(set.len(), 9 + 200);
    }

    #[test]
    fn no_byte_is_lost_at_the_start_of_a_line() {
        let source = render("p", &[b' '; LINE_BYTES + 1], "::rt");
        assert!(source.contains("b\"\\\n    \\x20") && source.contains(" \\\n    \\x20\","), "{source}");
    }
}
