//! `impl ProtoMessage` for every message: its full name, and the proto2 `required` fields in and below it.
//! Prost reads a message without them as if they were there; the schema lets the runtime look first.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use crate::rust_path::{ExternPaths, is_well_known};

/// All messages of a compilation, by full name with the leading dot.
pub(crate) struct Messages<'a> {
    by_name: HashMap<String, &'a DescriptorProto>,
    /// Those with a required field in them or in anything they may contain.
    with_required: HashSet<String>,
}

impl<'a> Messages<'a> {
    pub(crate) fn new(files: &'a [FileDescriptorProto]) -> Self {
        let mut by_name = HashMap::new();
        for file in files {
            walk(&scope_of(file), &file.message_type, &mut |full_name, message| {
                by_name.insert(full_name.to_owned(), message);
            });
        }
        let with_required = find_required(&by_name);
        Self { by_name, with_required }
    }

    /// The impls for all messages of `file`, in the order of the file, each after the one it is nested in.
    pub(crate) fn render(&self, file: &FileDescriptorProto, externs: &ExternPaths, runtime: &str) -> String {
        let mut code = String::new();
        let writer = Writer { messages: self, package: file.package(), externs, runtime };
        walk(&scope_of(file), &file.message_type, &mut |full_name, message| {
            // A map entry has no Rust type; a message from elsewhere has its impl there.
            if !is_map_entry(message) && !externs.covers(full_name) {
                code.push_str(&writer.message(full_name, message));
            }
        });
        code
    }
}

fn scope_of(file: &FileDescriptorProto) -> String {
    if file.package().is_empty() { String::new() } else { format!(".{}", file.package()) }
}

fn walk<'a>(scope: &str, messages: &'a [DescriptorProto], visit: &mut impl FnMut(&str, &'a DescriptorProto)) {
    for message in messages {
        let full_name = format!("{scope}.{}", message.name());
        visit(&full_name, message);
        walk(&full_name, &message.nested_type, visit);
    }
}

/// Spreads "has required fields" from messages to those that contain them, until nothing changes.
fn find_required(by_name: &HashMap<String, &DescriptorProto>) -> HashSet<String> {
    let mut containers: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut queue = Vec::new();
    for (full_name, message) in by_name.iter().filter(|(full_name, _)| !is_well_known(full_name)) {
        if message.field.iter().any(|field| field.label() == Label::Required) {
            queue.push(full_name.as_str());
        }
        for field in message.field.iter().filter(|field| holds_message(field)) {
            containers.entry(field.type_name()).or_default().push(full_name);
        }
    }
    let mut found = HashSet::new();
    while let Some(full_name) = queue.pop() {
        if found.insert(full_name.to_owned()) {
            queue.extend(containers.get(full_name).into_iter().flatten());
        }
    }
    found
}

fn holds_message(field: &FieldDescriptorProto) -> bool {
    matches!(field.r#type(), Type::Message | Type::Group)
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

/// What is the same for all impls of one file.
struct Writer<'a> {
    messages: &'a Messages<'a>,
    package: &'a str,
    externs: &'a ExternPaths,
    runtime: &'a str,
}

impl Writer<'_> {
    fn message(&self, full_name: &str, message: &DescriptorProto) -> String {
        let rt = self.runtime;
        let path = self.externs.path_to_message(self.package, full_name);
        let name = full_name.trim_start_matches('.');
        let schema = if self.messages.with_required.contains(full_name) {
            self.schema(message, 4)
        } else {
            "::core::option::Option::None".to_owned()
        };
        format!(
            "\nimpl {rt}::ProtoMessage for {path} {{
    const FULL_NAME: &'static str = \"{name}\";
    const SCHEMA: ::core::option::Option<&'static {rt}::MessageSchema> = {schema};
}}
"
        )
    }

    /// An expression for the schema of `message`, to stand in a line indented by `margin`.
    fn schema(&self, message: &DescriptorProto, margin: usize) -> String {
        let rt = self.runtime;
        let indent = " ".repeat(margin);
        let mut required = String::new();
        let mut nested = String::new();
        for field in &message.field {
            let number = field.number();
            if field.label() == Label::Required {
                let name = field.name();
                let _ = write!(
                    required,
                    "\n{indent}            {rt}::RequiredField {{ number: {number}, name: \"{name}\" }},"
                );
            }
            if holds_message(field) && self.messages.with_required.contains(field.type_name()) {
                let group = field.r#type() == Type::Group;
                let schema = self.schema_of_field(field, margin + 12);
                let _ = write!(
                    nested,
                    "\n{indent}            \
                     {rt}::NestedField {{ number: {number}, group: {group}, schema: || {schema} }},"
                );
            }
        }
        let list = |items: &str| match items {
            "" => String::new(),
            items => format!("{items}\n{indent}        "),
        };
        format!(
            "{{
{indent}    static SCHEMA: {rt}::MessageSchema = {rt}::MessageSchema {{
{indent}        required: &[{}],
{indent}        nested: &[{}],
{indent}    }};
{indent}    ::core::option::Option::Some(&SCHEMA)
{indent}}}",
            list(&required),
            list(&nested)
        )
    }

    /// An expression for the schema of the message in `field`.
    fn schema_of_field(&self, field: &FieldDescriptorProto, margin: usize) -> String {
        match self.messages.by_name.get(field.type_name()) {
            Some(entry) if is_map_entry(entry) => self.schema(entry, margin),
            _ => {
                let path = self.externs.path_to_message(self.package, field.type_name());
                format!("<{path} as {}::ProtoMessage>::SCHEMA", self.runtime)
            }
        }
    }
}
