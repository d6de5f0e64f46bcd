//! Which Rust types a package will have, checked before anything is written: what cannot be generated,
//! or would not compile, is refused here with its place in the `.proto`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use prost_types::{FileDescriptorProto, ServiceDescriptorProto};

use crate::error::{BuildError, place};
use crate::rust_path::{ExternPaths, type_name};

// Field numbers in `descriptor.proto`, the steps of a path in source info.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const SERVICE_METHOD: i32 = 2;

/// The Rust types that one service becomes.
pub(crate) struct ServiceTypes {
    pub(crate) handlers: String,
    pub(crate) handlers_async: String,
    pub(crate) server: String,
    pub(crate) server_handlers: String,
    pub(crate) stub: String,
}

impl ServiceTypes {
    /// `name` as the `.proto` spells it.
    pub(crate) fn new(name: &str) -> Self {
        let handlers = type_name(name);
        let stem = match handlers.strip_suffix("Service") {
            None | Some("") => handlers.as_str(),
            Some(stem) => stem,
        };
        Self {
            handlers_async: format!("{handlers}Async"),
            server: format!("{stem}Server"),
            server_handlers: format!("{stem}ServerHandlers"),
            stub: format!("{stem}Stub"),
            handlers,
        }
    }

    fn all(self) -> [String; 5] {
        [self.handlers, self.handlers_async, self.server, self.server_handlers, self.stub]
    }
}

/// Refuses methods that stream and types of one name in one package.
pub(crate) fn check(files: &[FileDescriptorProto], externs: &ExternPaths) -> Result<(), BuildError> {
    let mut types = HashMap::new();
    for file in files.iter().filter(|file| !externs.covers_package(file.package())) {
        for (index, service) in file.service.iter().enumerate() {
            refuse_streams(file, index, service)?;
        }
        claim_types(&mut types, file)?;
    }
    Ok(())
}

fn refuse_streams(
    file: &FileDescriptorProto,
    service_index: usize,
    service: &ServiceDescriptorProto,
) -> Result<(), BuildError> {
    for (index, method) in service.method.iter().enumerate() {
        if method.client_streaming() || method.server_streaming() {
            let name = format!("{}.{}", full_name(file.package(), service.name()), method.name());
            let text = format!(
                "method {name} has a `stream` argument or result; \
                 only methods with one request and one response can be generated"
            );
            let path = [FILE_SERVICE, service_index as i32, SERVICE_METHOD, index as i32];
            return Err(BuildError::at(file, &path, &text));
        }
    }
    Ok(())
}

/// Who took a type name: what it is, and where it stands.
type Claims = HashMap<(String, String), (String, String)>;

fn claim_types(types: &mut Claims, file: &FileDescriptorProto) -> Result<(), BuildError> {
    let mut claim = |type_name: String, origin: String, path: [i32; 2]| match types
        .entry((file.package().to_owned(), type_name))
    {
        Entry::Vacant(free) => {
            free.insert((origin, place(file, &path)));
            Ok(())
        }
        Entry::Occupied(taken) => {
            let ((_, type_name), (first, first_place)) = (taken.key(), taken.get());
            let text =
                format!("{origin} needs the Rust type `{type_name}`, as does {first} at {first_place}");
            Err(BuildError::at(file, &path, &text))
        }
    };
    for (index, message) in file.message_type.iter().enumerate() {
        let origin = format!("message {}", message.name());
        claim(type_name(message.name()), origin, [FILE_MESSAGE, index as i32])?;
    }
    for (index, item) in file.enum_type.iter().enumerate() {
        claim(type_name(item.name()), format!("enum {}", item.name()), [FILE_ENUM, index as i32])?;
    }
    for (index, service) in file.service.iter().enumerate().filter(|(_, service)| !service.method.is_empty())
    {
        for type_name in ServiceTypes::new(service.name()).all() {
            claim(type_name, format!("service {}", service.name()), [FILE_SERVICE, index as i32])?;
        }
    }
    Ok(())
}

/// `package.name`, or only the name where there is no package.
pub(crate) fn full_name(package: &str, name: &str) -> String {
    if package.is_empty() { name.to_owned() } else { format!("{package}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::ServiceTypes;

    #[test]
    fn a_trailing_service_is_dropped_where_something_is_left() {
        let names = |service: &str| {
            let types = ServiceTypes::new(service);
            [types.handlers, types.server, types.stub].join(" ")
        };
        assert_eq!(names("EchoService"), "EchoService EchoServer EchoStub");
        assert_eq!(names("Echo"), "Echo EchoServer EchoStub");
        assert_eq!(names("Service"), "Service ServiceServer ServiceStub");
        assert_eq!(names("ServiceEcho"), "ServiceEcho ServiceEchoServer ServiceEchoStub");
        assert_eq!(names("echo_service"), "EchoService EchoServer EchoStub");
    }
}
