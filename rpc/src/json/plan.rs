//! What the transcoder needs to know of messages, laid out flat: made once of the descriptors of a schema, so that a
//! conversion follows indices and compares bytes, and never asks a descriptor.
//!
//! It never reads or writes a message.

use std::cmp::Ordering;
use std::collections::HashMap;

use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::{
    DescriptorPool, EnumDescriptor, Kind as ReflectedKind, MessageDescriptor, OneofDescriptor, Syntax,
};

use super::names;
use super::wire;

/// Field numbers below this are looked up by index.
const DENSE_NUMBERS: usize = 128;
/// No field, in lists of them.
const NONE: u32 = u32::MAX;

/// All messages and enums of a pool.
pub(crate) struct Plans {
    messages: Vec<MessagePlan>,
    enums: Vec<EnumPlan>,
    /// Full names, ascending by length, then by their bytes: fewer steps than a hash of the whole name.
    by_name: Vec<(Box<str>, u32)>,
}

/// One message. Fields are in the order of output: extensions, declared fields, maps.
pub(super) struct MessagePlan {
    pub(super) full_name: Box<str>,
    pub(super) fields: Vec<FieldPlan>,
    /// Where maps start in `fields`: they are written even when they are empty.
    pub(super) maps_from: u32,
    /// Indices of required fields, ascending.
    pub(super) required: Vec<u32>,
    /// How many `oneof`s there are; those that proto3 makes of `optional` fields are none.
    pub(super) oneofs: u32,
    /// Generated for a `map<>` field.
    pub(super) is_map_entry: bool,
    /// The only field, if it is repeated.
    pub(super) single_repeated: Option<u32>,
    /// Indices of `fields`, ascending by length of the key, then by its bytes.
    by_key: Vec<u32>,
    /// Number to index of `fields`, or `NONE`.
    dense: Vec<u32>,
    /// The numbers beyond, ascending, with the index of the field.
    sparse: Vec<(u32, u32)>,
}

/// One field.
pub(super) struct FieldPlan {
    pub(super) full_name: Box<str>,
    /// The key in JSON.
    pub(super) key: Box<str>,
    /// The key as it is written, with a comma in front and the colon behind.
    pub(super) printed: Box<[u8]>,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    pub(super) is_required: bool,
    pub(super) is_extension: bool,
    /// A value of zero is the same as none.
    pub(super) is_implicit: bool,
    /// The `oneof` that it is a member of, by index.
    pub(super) oneof: Option<u32>,
    /// Number and wire type of one value, encoded.
    pub(super) tag: wire::Tag,
    /// What comes behind a group; that of a list as one packed field.
    pub(super) second_tag: wire::Tag,
    /// The value when it is not set, without a tag.
    pub(super) default: Box<[u8]>,
}

/// Types of values, by how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int32,
    Sint32,
    Sfixed32,
    Uint32,
    Fixed32,
    Int64,
    Sint64,
    Sfixed64,
    Uint64,
    Fixed64,
    Float,
    Double,
    Bool,
    String,
    Bytes,
    /// Index in the enums.
    Enum(u32),
    /// Index in the messages.
    Message(u32),
    /// Index in the messages.
    Group(u32),
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Singular,
    /// Written packed, or not; read as both.
    List {
        is_packed: bool,
    },
    /// A list of messages with exactly a singular string `key` and a singular `value`: which of the fields of that
    /// message is which.
    Map {
        key: u32,
        value: u32,
    },
}

/// One enum.
pub(super) struct EnumPlan {
    /// Numbers that have no name are not values (proto2).
    pub(super) is_closed: bool,
    /// Ascending.
    by_name: Vec<(Box<str>, i32)>,
    /// Ascending; the first name where there are several.
    by_number: Vec<(i32, Box<str>)>,
}

impl Kind {
    pub(super) fn message(self) -> Option<u32> {
        match self {
            Kind::Message(message) | Kind::Group(message) => Some(message),
            _ => None,
        }
    }

    pub(super) fn wire_type(self) -> u8 {
        match self {
            Kind::Sfixed32 | Kind::Fixed32 | Kind::Float => wire::FIXED32,
            Kind::Sfixed64 | Kind::Fixed64 | Kind::Double => wire::FIXED64,
            Kind::String | Kind::Bytes | Kind::Message(_) => wire::DELIMITED,
            Kind::Group(_) => wire::GROUP_START,
            _ => wire::VARINT,
        }
    }
}

impl Plans {
    pub(crate) fn compile(pool: &DescriptorPool) -> Plans {
        let descriptors: Vec<MessageDescriptor> = pool.all_messages().collect();
        let enums: Vec<EnumDescriptor> = pool.all_enums().collect();
        let index = Index {
            messages: number(descriptors.iter().map(MessageDescriptor::full_name)),
            enums: number(enums.iter().map(EnumDescriptor::full_name)),
        };
        let messages = descriptors.iter().map(|message| index.message(message)).collect();
        let mut by_name: Vec<(Box<str>, u32)> =
            index.messages.iter().map(|(name, index)| ((*name).into(), *index)).collect();
        by_name.sort_by(|(a, _), (b, _)| compare_keys(a.as_bytes(), b.as_bytes()));
        Plans { messages, enums: enums.iter().map(EnumPlan::new).collect(), by_name }
    }

    pub(super) fn find(&self, full_name: &str) -> Option<u32> {
        let at = self
            .by_name
            .binary_search_by(|(name, _)| compare_keys(name.as_bytes(), full_name.as_bytes()))
            .ok()?;
        Some(self.by_name[at].1)
    }

    pub(super) fn message(&self, index: u32) -> &MessagePlan {
        &self.messages[index as usize]
    }

    pub(super) fn enumeration(&self, index: u32) -> &EnumPlan {
        &self.enums[index as usize]
    }
}

fn number<'n>(names: impl Iterator<Item = &'n str>) -> HashMap<&'n str, u32> {
    names.zip(0..).collect()
}

/// Where messages and enums will be.
struct Index<'n> {
    messages: HashMap<&'n str, u32>,
    enums: HashMap<&'n str, u32>,
}

impl Index<'_> {
    fn message(&self, message: &MessageDescriptor) -> MessagePlan {
        let declared = message.descriptor_proto().field.iter().filter_map(|field| {
            let field = message.get_field(field.number() as u32)?;
            let mut plan = self.field(&Described {
                name: field.name(),
                full_name: field.full_name(),
                number: field.number(),
                proto: field.field_descriptor_proto(),
                kind: field.kind(),
                is_packed: field.is_packed(),
                supports_presence: field.supports_presence(),
                default: &|| field.default_value(),
            });
            plan.oneof = field
                .containing_oneof()
                .and_then(|own| real_oneofs(message).position(|oneof| oneof == own))
                .map(|at| at as u32);
            Some(plan)
        });
        let declared: Vec<FieldPlan> = declared.collect();
        let mut extensions: Vec<FieldPlan> = Vec::new();
        for extension in message.extensions() {
            let mut plan = self.field(&Described {
                name: extension.name(),
                full_name: extension.full_name(),
                number: extension.number(),
                proto: extension.field_descriptor_proto(),
                kind: extension.kind(),
                is_packed: extension.is_packed(),
                supports_presence: extension.supports_presence(),
                default: &|| extension.default_value(),
            });
            plan.is_extension = true;
            // A simple name may be taken; then the field that has it is meant.
            if !declared.iter().chain(&extensions).any(|other| other.key == plan.key) {
                extensions.push(plan);
            }
        }
        extensions.sort_by_key(|extension| extension.number);
        let single_repeated = match &declared[..] {
            [field] if extensions.is_empty() && field.shape != Shape::Singular => Some(0),
            _ => None,
        };
        let is_map = |field: &FieldPlan| matches!(field.shape, Shape::Map { .. });
        let mut fields = extensions;
        fields.extend(declared);
        fields.sort_by_key(is_map);
        MessagePlan::new(message, fields, single_repeated)
    }

    fn field(&self, field: &Described<'_>) -> FieldPlan {
        let kind = self.kind(field);
        let key = names::key_of(field.name);
        let mut printed = vec![b','];
        super::print::string(&key, &mut printed);
        printed.push(b':');
        let shape = match field.proto.label() {
            Label::Repeated => {
                map_shape(kind, &field.kind).unwrap_or(Shape::List { is_packed: field.is_packed })
            }
            _ => Shape::Singular,
        };
        let second = if matches!(kind, Kind::Group(_)) { wire::GROUP_END } else { wire::DELIMITED };
        FieldPlan {
            full_name: field.full_name.into(),
            key: key.into(),
            printed: printed.into(),
            number: field.number,
            kind,
            shape,
            is_required: field.proto.label() == Label::Required,
            is_extension: false,
            is_implicit: shape == Shape::Singular && !field.supports_presence,
            oneof: None,
            tag: wire::Tag::new(field.number, kind.wire_type()),
            second_tag: wire::Tag::new(field.number, second),
            default: match kind.message() {
                None if shape == Shape::Singular => wire::of_value(kind, &(field.default)()).into(),
                _ => Box::default(),
            },
        }
    }

    fn kind(&self, field: &Described<'_>) -> Kind {
        match &field.kind {
            ReflectedKind::Double => Kind::Double,
            ReflectedKind::Float => Kind::Float,
            ReflectedKind::Int32 => Kind::Int32,
            ReflectedKind::Int64 => Kind::Int64,
            ReflectedKind::Uint32 => Kind::Uint32,
            ReflectedKind::Uint64 => Kind::Uint64,
            ReflectedKind::Sint32 => Kind::Sint32,
            ReflectedKind::Sint64 => Kind::Sint64,
            ReflectedKind::Fixed32 => Kind::Fixed32,
            ReflectedKind::Fixed64 => Kind::Fixed64,
            ReflectedKind::Sfixed32 => Kind::Sfixed32,
            ReflectedKind::Sfixed64 => Kind::Sfixed64,
            ReflectedKind::Bool => Kind::Bool,
            ReflectedKind::String => Kind::String,
            ReflectedKind::Bytes => Kind::Bytes,
            ReflectedKind::Enum(item) => Kind::Enum(self.enums[item.full_name()]),
            ReflectedKind::Message(message) => {
                let message = self.messages[message.full_name()];
                if field.proto.r#type() == Type::Group {
                    Kind::Group(message)
                } else {
                    Kind::Message(message)
                }
            }
        }
    }
}

/// What fields and extensions have in common.
struct Described<'d> {
    name: &'d str,
    full_name: &'d str,
    number: u32,
    proto: &'d prost_reflect::prost_types::FieldDescriptorProto,
    kind: ReflectedKind,
    is_packed: bool,
    supports_presence: bool,
    default: &'d dyn Fn() -> prost_reflect::Value,
}

fn real_oneofs(message: &MessageDescriptor) -> impl Iterator<Item = OneofDescriptor> {
    message.oneofs().filter(|oneof| !oneof.is_synthetic())
}

/// Whether the messages of a list are entries of a map: by their shape, whether written as `map<>` or not.
fn map_shape(kind: Kind, reflected: &ReflectedKind) -> Option<Shape> {
    let entry = reflected.as_message().filter(|_| matches!(kind, Kind::Message(_)))?;
    let fields = &entry.descriptor_proto().field;
    let index = |name: &str| {
        fields
            .iter()
            .position(|field| field.name() == name && field.label() != Label::Repeated)
            .map(|at| at as u32)
    };
    let (key, value) = (index("key")?, index("value")?);
    let is_map =
        fields.len() == 2 && entry.extensions().len() == 0 && fields[key as usize].r#type() == Type::String;
    is_map.then_some(Shape::Map { key, value })
}

impl MessagePlan {
    fn new(message: &MessageDescriptor, fields: Vec<FieldPlan>, single_repeated: Option<u32>) -> Self {
        let count = fields.len() as u32;
        let is_map = |field: &FieldPlan| matches!(field.shape, Shape::Map { .. });
        let mut by_key: Vec<u32> = (0..count).collect();
        let key = |index: &u32| fields[*index as usize].key.as_bytes();
        by_key.sort_by(|a, b| compare_keys(key(a), key(b)));
        let (mut dense, mut sparse) = (Vec::new(), Vec::new());
        for (field, index) in fields.iter().zip(0..) {
            let number = field.number as usize;
            if number >= DENSE_NUMBERS {
                sparse.push((field.number, index));
                continue;
            }
            if dense.len() <= number {
                dense.resize(number + 1, NONE);
            }
            dense[number] = index;
        }
        sparse.sort_unstable();
        MessagePlan {
            full_name: message.full_name().into(),
            maps_from: fields.iter().position(is_map).map_or(count, |at| at as u32),
            required: (0..count).filter(|index| fields[*index as usize].is_required).collect(),
            oneofs: real_oneofs(message).count() as u32,
            is_map_entry: message.is_map_entry(),
            single_repeated,
            by_key,
            dense,
            sparse,
            fields,
        }
    }

    /// The field of that key; `hint` is looked at first.
    #[inline]
    pub(super) fn by_key(&self, key: &[u8], hint: u32) -> Option<u32> {
        match self.fields.get(hint as usize) {
            Some(field) if field.key.as_bytes() == key => Some(hint),
            _ => self.search_key(key),
        }
    }

    fn search_key(&self, key: &[u8]) -> Option<u32> {
        let order = |index: &u32| compare_keys(self.fields[*index as usize].key.as_bytes(), key);
        self.by_key.binary_search_by(order).ok().map(|at| self.by_key[at])
    }

    /// The field of that number.
    #[inline]
    pub(super) fn by_number(&self, number: u32) -> Option<u32> {
        match self.dense.get(number as usize) {
            Some(&index) => (index != NONE).then_some(index),
            None => {
                let at = self.sparse.binary_search_by_key(&number, |(number, _)| *number).ok()?;
                Some(self.sparse[at].1)
            }
        }
    }

    #[inline]
    pub(super) fn field(&self, index: u32) -> &FieldPlan {
        &self.fields[index as usize]
    }
}

fn compare_keys(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl EnumPlan {
    fn new(item: &EnumDescriptor) -> Self {
        let mut by_name: Vec<(Box<str>, i32)> = Vec::new();
        let mut by_number: Vec<(i32, Box<str>)> = Vec::new();
        for value in &item.enum_descriptor_proto().value {
            by_name.push((value.name().into(), value.number()));
            by_number.push((value.number(), value.name().into()));
        }
        by_name.sort();
        by_number.sort_by_key(|(number, _)| *number); // stable: the first name stays first
        by_number.dedup_by_key(|(number, _)| *number);
        EnumPlan { is_closed: item.parent_file().syntax() == Syntax::Proto2, by_name, by_number }
    }

    pub(super) fn number(&self, name: &str) -> Option<i32> {
        let at = self.by_name.binary_search_by(|(own, _)| own.as_ref().cmp(name)).ok()?;
        Some(self.by_name[at].1)
    }

    pub(super) fn name(&self, number: i32) -> Option<&str> {
        let at = self.by_number.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.by_number[at].1)
    }
}
