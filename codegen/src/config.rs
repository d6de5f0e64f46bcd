//! Options of the generator, and the run itself: load, check, write.

use std::io;
use std::path::{Path, PathBuf};

use prost_types::FileDescriptorProto;

use crate::error::BuildError;
use crate::proto_message::Messages;
use crate::rust_path::ExternPaths;
use crate::service::Generator;
use crate::sources::{self, EncodedFile, Sources};
use crate::{comments, embedded_schema, layout};

/// What generated code calls the runtime unless told otherwise.
const RUNTIME_PATH_DEFAULT: &str = "::bobbin";

/// Options of the generator.
///
/// | Option | Default |
/// |---|---|
/// | [`out_dir`](Self::out_dir) | the environment variable `OUT_DIR`, which Cargo sets for build scripts |
/// | [`runtime_path`](Self::runtime_path) | `::bobbin` |
/// | [`include_file`](Self::include_file) | none is written |
/// | attributes, `bytes`, `btree_map`, `extern_path` | none |
///
/// Where a method takes a *proto path*, it is the full name with a leading dot (`.example.EchoRequest`), of
/// a package, a message, an enum or a field; an option set for a package or message covers all in it; `.` is
/// everything.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// bobbin_build::Config::new()
///     .type_attribute(".example", "#[derive(Eq, Hash)]")
///     .include_file("protos.rs")
///     .compile_protos(&["proto/echo.proto", "proto/user.proto"], &["proto"])
/// # }
/// ```
#[derive(Debug)]
pub struct Config {
    prost: prost_build::Config,
    runtime_path: String,
    extern_paths: Vec<(String, String)>,
    out_dir: Option<PathBuf>,
    include_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            prost: prost_build::Config::new(),
            runtime_path: RUNTIME_PATH_DEFAULT.to_owned(),
            extern_paths: Vec::new(),
            out_dir: None,
            include_file: None,
        }
    }

    /// Writes into `dir`, which must exist, instead of `OUT_DIR`.
    pub fn out_dir(&mut self, dir: impl Into<PathBuf>) -> &mut Self {
        self.out_dir = Some(dir.into());
        self
    }

    /// Where generated code finds the runtime: an absolute path, `::name…` or `crate…`.
    ///
    /// The module it leads to must have, directly in it, `CallOptions`, `Call`, `Channel`, `IoBuf`, `MessageSchema`,
    /// `MethodDescriptor`, `NestedField`, `ProtoMessage`, `Reply`, `RequiredField`, `Responder`, `RpcError`,
    /// `Schema`, `ServerCall`, `Service`, `ServiceDescriptor`, `unary`, `unary_async`, and the crates `prost` and
    /// `prost_types`. The crate `bobbin` does; a crate that depends on it under another name says so here.
    pub fn runtime_path(&mut self, path: impl Into<String>) -> &mut Self {
        self.runtime_path = path.into();
        self
    }

    /// Also writes `name` into the output folder: one file with a module for each package, nested as the
    /// packages are. Packages that refer to each other need that nesting.
    pub fn include_file(&mut self, name: impl Into<PathBuf>) -> &mut Self {
        self.include_file = Some(name.into());
        self
    }

    /// Puts `attribute` (`"#[derive(Eq)]"`) on the messages, enums and oneofs at `proto_path`.
    pub fn type_attribute(&mut self, proto_path: impl AsRef<str>, attribute: impl AsRef<str>) -> &mut Self {
        self.prost.type_attribute(proto_path, attribute);
        self
    }

    /// Puts `attribute` on the messages at `proto_path`.
    pub fn message_attribute(
        &mut self,
        proto_path: impl AsRef<str>,
        attribute: impl AsRef<str>,
    ) -> &mut Self {
        self.prost.message_attribute(proto_path, attribute);
        self
    }

    /// Puts `attribute` on the enums at `proto_path`.
    pub fn enum_attribute(&mut self, proto_path: impl AsRef<str>, attribute: impl AsRef<str>) -> &mut Self {
        self.prost.enum_attribute(proto_path, attribute);
        self
    }

    /// Puts `attribute` on the fields at `proto_path`.
    pub fn field_attribute(&mut self, proto_path: impl AsRef<str>, attribute: impl AsRef<str>) -> &mut Self {
        self.prost.field_attribute(proto_path, attribute);
        self
    }

    /// Makes the `bytes` fields at `proto_paths` `bytes::Bytes` rather than `Vec<u8>`.
    pub fn bytes(&mut self, proto_paths: impl IntoIterator<Item = impl AsRef<str>>) -> &mut Self {
        self.prost.bytes(proto_paths);
        self
    }

    /// Makes the `map` fields at `proto_paths` a `BTreeMap` rather than a `HashMap`.
    pub fn btree_map(&mut self, proto_paths: impl IntoIterator<Item = impl AsRef<str>>) -> &mut Self {
        self.prost.btree_map(proto_paths);
        self
    }

    /// Generates nothing for the package or message at `proto_path`; it exists at `rust_path` (`::other::example`).
    ///
    /// Messages there must implement `ProtoMessage` if they have required fields or are sent or received themselves;
    /// they do if this generator made them.
    pub fn extern_path(&mut self, proto_path: impl Into<String>, rust_path: impl Into<String>) -> &mut Self {
        let (proto_path, rust_path) = (proto_path.into(), rust_path.into());
        self.prost.extern_path(proto_path.clone(), rust_path.clone());
        self.extern_paths.push((proto_path, rust_path));
        self
    }

    /// Compiles `protos`, and all they import, and tells Cargo on standard output which files to watch
    /// (`cargo:rerun-if-changed=…`).
    ///
    /// `includes` are the folders that imports are looked up in, in order; each of `protos` must lie in one of them.
    /// A file whose content would not change is not written. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) with file, line and column for a `.proto` that cannot be read,
    /// is wrong, streams, or needs one Rust type twice, and for a bad option; another kind if a file cannot
    /// be written.
    pub fn compile_protos(
        &mut self,
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> io::Result<()> {
        if !is_absolute_path(&self.runtime_path) {
            let text = format!("runtime path `{}` is not like `::name` or `crate::name`", self.runtime_path);
            return Err(BuildError::new(text).into());
        }
        let Sources { mut descriptors, files_read, encoded } = sources::load(protos, includes)?;
        for file in files_read {
            println!("cargo:rerun-if-changed={}", file.display());
        }
        let externs = ExternPaths::new(&self.extern_paths, &format!("{}::prost_types", self.runtime_path));
        layout::check(&descriptors.file, &externs)?;
        for file in &mut descriptors.file {
            comments::make_rustdoc_safe(file);
            if externs.covers_package(file.package()) {
                file.service.clear();
            }
        }
        let generator = self.generator(&descriptors.file, &encoded, &externs);
        self.configure_prost(generator).compile_fds(descriptors)
    }

    fn generator(
        &self,
        files: &[FileDescriptorProto],
        encoded: &[EncodedFile],
        externs: &ExternPaths,
    ) -> Generator {
        let messages = Messages::new(files);
        let file_endings = files.iter().map(|file| messages.render(file, externs, &self.runtime_path));
        let schemas = embedded_schema::for_packages(files, encoded, &self.runtime_path);
        Generator::new(self.runtime_path.clone(), file_endings, schemas)
    }

    fn configure_prost(&mut self, generator: Generator) -> &mut prost_build::Config {
        let prost = &mut self.prost;
        prost.service_generator(Box::new(generator));
        prost.prost_path(format!("{}::prost", self.runtime_path));
        prost.prost_types_path(format!("{}::prost_types", self.runtime_path));
        if let Some(dir) = &self.out_dir {
            prost.out_dir(dir);
        }
        if let Some(name) = &self.include_file {
            prost.include_file(name);
        }
        prost
    }
}

/// Whether `path` is `::a::b` or `crate::a::b`. It is used inside modules of any depth.
fn is_absolute_path(path: &str) -> bool {
    let is_name = |part: &str| {
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part.chars().all(|other| other.is_alphanumeric() || other == '_')
    };
    let mut parts = path.split("::");
    matches!(parts.next(), Some("" | "crate")) && !path.is_empty() && parts.all(is_name)
}
