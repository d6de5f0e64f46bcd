//! Random messages and random text: what is written is read back, other libraries agree, nothing panics.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use rpc::json::{self, JsonOptions, MAX_GROWTH};

use crate::schema::{SCHEMA, descriptor, options, read, read_with, write, write_with};

/// A value of each type that JSON can carry without loss.
fn scalars() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let double =
        prop_oneof![any::<f64>().prop_filter("a number", |value| !value.is_nan()), Just(f64::INFINITY)];
    let color = proptest::sample::select(vec![0, 1, 3, -5]);
    let numbers = (
        option::of(any::<i32>().prop_map(Value::I32)),
        option::of(any::<i32>().prop_map(Value::I32)),
        option::of(any::<i32>().prop_map(Value::I32)),
        option::of(any::<u32>().prop_map(Value::U32)),
        option::of(any::<u32>().prop_map(Value::U32)),
        option::of(any::<i64>().prop_map(Value::I64)),
        option::of(any::<i64>().prop_map(Value::I64)),
        option::of(any::<i64>().prop_map(Value::I64)),
        option::of(any::<u64>().prop_map(Value::U64)),
        option::of(any::<u64>().prop_map(Value::U64)),
    );
    let others = (
        option::of(any::<f32>().prop_filter("a number", |value| !value.is_nan()).prop_map(Value::F32)),
        option::of(double.prop_map(Value::F64)),
        option::of(any::<bool>().prop_map(Value::Bool)),
        option::of(any::<String>().prop_map(Value::String)),
        option::of(vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into()))),
        option::of(color.prop_map(Value::EnumNumber)),
        option::of(any::<i32>().prop_map(Value::I32)),
    );
    (numbers, others).prop_map(|((a, b, c, d, e, f, g, h, i, j), (k, l, m, n, o, p, q))| {
        let names = [
            "int32", "sint32", "sfixed32", "uint32", "fixed32", "int64", "sint64", "sfixed64", "uint64",
            "fixed64", "float", "double", "bool", "string", "bytes", "color", "far",
        ];
        let values = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q];
        names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
    })
}

fn lists() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let list = |value: BoxedStrategy<Value>| vec(value, 0..5).prop_map(Value::List);
    (
        list(any::<i32>().prop_map(Value::I32).boxed()),
        list(any::<i64>().prop_map(Value::I64).boxed()),
        list(any::<u32>().prop_map(Value::U32).boxed()),
        list(any::<bool>().prop_map(Value::Bool).boxed()),
        list(".*".prop_map(Value::String).boxed()),
        list(proptest::sample::select(vec![0, 1, 3, -5]).prop_map(Value::EnumNumber).boxed()),
        btree_map(".{0,3}", any::<i32>(), 0..4),
        btree_map(any::<i32>(), ".{0,3}", 0..3),
    )
        .prop_map(|(a, b, c, d, e, f, numbers, by_number)| {
            let numbers = numbers
                .into_iter()
                .map(|(key, value)| (prost_reflect::MapKey::String(key), Value::I32(value)))
                .collect();
            let by_number = by_number
                .into_iter()
                .map(|(key, value)| (prost_reflect::MapKey::I32(key), Value::String(value)))
                .collect();
            vec![
                ("int32s", a),
                ("sint64s", b),
                ("fixed32s", c),
                ("bools", d),
                ("strings", e),
                ("colors", f),
                ("numbers", Value::Map(numbers)),
                ("by_number", Value::Map(by_number)),
            ]
        })
}

fn message(
    fields: Vec<(&'static str, Value)>,
    children: Vec<DynamicMessage>,
    how: Vec<u8>,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor("every.Every"));
    for (name, value) in fields {
        message.set_field_by_name(name, value);
    }
    for (child, how) in children.into_iter().zip(how) {
        match how % 4 {
            0 => message.set_field_by_name("every", Value::Message(child)),
            1 => message.set_field_by_name("one_every", Value::Message(child)),
            2 => {
                let mut list = message.get_field_by_name("everys").unwrap().as_list().unwrap().to_vec();
                list.push(Value::Message(child));
                message.set_field_by_name("everys", Value::List(list));
            }
            _ => {
                let field = message.descriptor().get_field_by_name("group").unwrap();
                let mut group = DynamicMessage::new(field.kind().as_message().unwrap().clone());
                group.set_field_by_name("every", Value::Message(child));
                message.set_field(&field, Value::Message(group));
            }
        }
    }
    message
}

/// Printed in the text format: the Debug form of a message whose type contains itself never ends.
#[derive(Clone)]
struct Shown(DynamicMessage);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_text_format())
    }
}

fn messages() -> impl Strategy<Value = Shown> {
    trees().prop_map(Shown)
}

fn trees() -> impl Strategy<Value = DynamicMessage> {
    let leaf = (scalars(), lists()).prop_map(|(mut fields, lists)| {
        fields.extend(lists);
        message(fields, vec![], vec![])
    });
    leaf.prop_recursive(4, 16, 3, |inner| {
        (scalars(), vec(inner, 0..3), vec(any::<u8>(), 3))
            .prop_map(|(f, children, how)| message(f, children, how))
    })
}

fn all_options() -> impl Strategy<Value = JsonOptions> {
    any::<[bool; 4]>().prop_map(|[empty_array, numbers, pretty, strict]| {
        options(|options| {
            options.jsonify_empty_array = empty_array;
            options.enum_as_number = numbers;
            options.pretty = pretty;
            options.strict = strict;
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_back(Shown(message) in messages(), options in all_options()) {
        let wire = message.encode_to_vec();
        let json = write_with(&options, "every.Every", &wire).unwrap();
        let read = read_with(&options, "every.Every", &json).unwrap();
        let read_back = decode(&read);
        prop_assert!(read_back == decode(&message.encode_to_vec()), "{json}\n{}", read_back.to_text_format());
        prop_assert!(read.len() <= MAX_GROWTH * json.len());
        // And it is JSON to others.
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert!(parsed.is_object());
    }

    /// A serializer of the canonical mapping writes what our reader takes, where the two have the same names: that is
    /// with the names of the `.proto`.
    #[test]
    fn canonical_json_is_read_too(Shown(message) in messages()) {
        let canonical = prost_reflect::SerializeOptions::new().use_proto_field_name(true);
        let mut serializer = serde_json::Serializer::new(Vec::new());
        let mut message = message;
        message.clear_field_by_name("by_number"); // has objects there
        remove_by_number(&mut message);
        message.serialize_with_options(&mut serializer, &canonical).unwrap();
        let json = String::from_utf8(serializer.into_inner()).unwrap();
        let wire = read("every.Every", &json).unwrap();
        let read_back = decode(&wire);
        prop_assert!(read_back == decode(&message.encode_to_vec()), "{json}\n{}", read_back.to_text_format());
    }

    /// What our writer writes is canonical JSON to others, but for maps with other keys.
    #[test]
    fn canonical_readers_take_what_is_written(Shown(message) in messages()) {
        let mut message = message;
        remove_by_number(&mut message);
        let json = write("every.Every", &message.encode_to_vec()).unwrap();
        let wire = json::proto_json_to_proto(&SCHEMA, "every.Every", json.as_bytes()).unwrap();
        let read_back = decode(&wire);
        prop_assert!(read_back == decode(&message.encode_to_vec()), "{json}\n{}", read_back.to_text_format());
    }

    #[test]
    fn no_bytes_do_harm(wire in vec(any::<u8>(), 0..200), options in all_options()) {
        if let Ok(json) = write_with(&options, "every.Every", &wire) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        }
    }

    /// Messages with a byte changed.
    #[test]
    fn damaged_messages_do_no_harm(Shown(message) in messages(), at: prop::sample::Index, byte: u8) {
        let mut wire = message.encode_to_vec();
        if !wire.is_empty() {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        if let Ok(json) = write("every.Every", &wire) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        }
    }

    /// Texts with a byte changed.
    #[test]
    fn damaged_texts_do_no_harm(Shown(message) in messages(), at: prop::sample::Index, byte: u8) {
        let mut json = write("every.Every", &message.encode_to_vec()).unwrap().into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        let read = json::json_to_proto(&SCHEMA, "every.Every", &json, &JsonOptions::default());
        let by_others = serde_json::from_slice::<serde_json::Value>(&json);
        let is_json = by_others.is_ok();
        // Theirs wants a double of every number; ours passes one over that fits nothing, if its grammar is right.
        let is_huge = by_others.is_err_and(|error| error.to_string().starts_with("number out of range"));
        if let Ok((wire, _)) = read {
            prop_assert!(is_json || is_huge, "{}", String::from_utf8_lossy(&json));
            prop_assert!(DynamicMessage::decode(descriptor("every.Every"), wire.as_slice()).is_ok());
        } else if matches!(read, Err(json::JsonError::Syntax { .. })) {
            prop_assert!(!is_json, "{}", String::from_utf8_lossy(&json));
        }
    }
}

fn decode(wire: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(descriptor("every.Every"), wire).unwrap()
}

fn remove_by_number(message: &mut DynamicMessage) {
    message.clear_field_by_name("by_number");
    let fields: Vec<_> = message.descriptor().fields().filter(|field| message.has_field(field)).collect();
    for field in fields {
        match message.get_field_mut(&field) {
            Value::Message(inner) => remove_by_number(inner),
            Value::List(items) => {
                for item in items {
                    if let Value::Message(inner) = item {
                        remove_by_number(inner);
                    }
                }
            }
            _ => {}
        }
    }
}

#[test]
fn the_worst_growth_is_as_stated() {
    let json = format!(r#"{{"doubles":[{}1]}}"#, "1,".repeat(10_000));
    let wire = read("every.Every", &json).unwrap();
    assert!(wire.len() > 4 * json.len() && wire.len() <= MAX_GROWTH * json.len());
}
