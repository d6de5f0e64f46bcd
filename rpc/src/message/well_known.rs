//! [`ProtoMessage`] for the types that stand for `google.protobuf.*` messages. They live in other crates, so that
//! only this one can implement it.

use super::{MessageSchema, ProtoMessage};

macro_rules! without_required_fields {
    ($($type:ty => $name:literal),* $(,)?) => {
        $(impl ProtoMessage for $type {
            const FULL_NAME: &'static str = concat!("google.protobuf.", $name);
            const SCHEMA: Option<&'static MessageSchema> = None;
        })*
    };
}

without_required_fields! {
    () => "Empty",
    bool => "BoolValue",
    u32 => "UInt32Value",
    u64 => "UInt64Value",
    i32 => "Int32Value",
    i64 => "Int64Value",
    f32 => "FloatValue",
    f64 => "DoubleValue",
    String => "StringValue",
    Vec<u8> => "BytesValue",
    prost_types::Any => "Any",
    prost_types::Duration => "Duration",
    prost_types::FieldMask => "FieldMask",
    prost_types::ListValue => "ListValue",
    prost_types::Struct => "Struct",
    prost_types::Timestamp => "Timestamp",
    prost_types::Value => "Value",
}
