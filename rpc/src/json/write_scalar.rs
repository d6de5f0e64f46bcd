//! One protobuf scalar as one JSON value (protocols-http §18.2).

use super::error::JsonError;
use super::options::JsonOptions;
use super::plan::{FieldPlan, Kind, Plans};
use super::print;
use super::wire::{Reader, unzigzag};

/// What is needed to write any scalar.
pub(super) struct Scalars<'a> {
    pub(super) plans: &'a Plans,
    pub(super) options: &'a JsonOptions,
}

impl Scalars<'_> {
    /// Reads the value that comes next, behind its tag, and writes it.
    #[inline]
    pub(super) fn write(
        &self,
        field: &FieldPlan,
        reader: &mut Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        match field.kind {
            Kind::String => print::string(text(field, reader)?, out),
            Kind::Int32 => print::integer(reader.varint()? as i32, out),
            Kind::Int64 => print::integer(reader.varint()? as i64, out),
            Kind::Uint32 => print::integer(reader.varint()? as u32, out),
            Kind::Uint64 => print::integer(reader.varint()?, out),
            Kind::Sint32 => print::integer(unzigzag(reader.varint()? & 0xffff_ffff) as i32, out),
            Kind::Sint64 => print::integer(unzigzag(reader.varint()?), out),
            Kind::Fixed32 => print::integer(u32::from_le_bytes(reader.fixed()?), out),
            Kind::Fixed64 => print::integer(u64::from_le_bytes(reader.fixed()?), out),
            Kind::Sfixed32 => print::integer(i32::from_le_bytes(reader.fixed()?), out),
            Kind::Sfixed64 => print::integer(i64::from_le_bytes(reader.fixed()?), out),
            Kind::Float => print::double(f32::from_le_bytes(reader.fixed()?).into(), out),
            Kind::Double => print::double(f64::from_le_bytes(reader.fixed()?), out),
            Kind::Bool => {
                let word: &[u8] = if reader.varint()? != 0 { b"true" } else { b"false" };
                out.extend_from_slice(word);
            }
            Kind::Bytes if self.options.bytes_to_base64 => print::base64(reader.delimited()?, out),
            Kind::Bytes => print::string(text(field, reader)?, out),
            Kind::Enum(item) => {
                let number = reader.varint()? as i32;
                match self.plans.enumeration(item).name(number).filter(|_| !self.options.enum_as_number) {
                    Some(name) => print::string(name, out),
                    None => print::integer(number, out),
                }
            }
            Kind::Message(_) | Kind::Group(_) => unreachable!("a message is no scalar"),
        }
        Ok(())
    }

    /// Whether the value that comes next is one that a closed enum does not have.
    pub(super) fn is_unknown(&self, field: &FieldPlan, mut reader: Reader<'_>) -> bool {
        let Kind::Enum(item) = field.kind else { return false };
        let item = self.plans.enumeration(item);
        item.is_closed && reader.varint().is_ok_and(|value| item.name(value as i32).is_none())
    }
}

fn text<'w>(field: &FieldPlan, reader: &mut Reader<'w>) -> Result<&'w str, JsonError> {
    std::str::from_utf8(reader.delimited()?)
        .map_err(|_| JsonError::NotUtf8 { field: field.full_name.to_string() })
}

/// Whether the value that comes next is zero or empty.
pub(super) fn is_zero(kind: Kind, mut reader: Reader<'_>) -> bool {
    match kind {
        Kind::String | Kind::Bytes => reader.delimited().is_ok_and(<[u8]>::is_empty),
        Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => {
            reader.fixed::<4>().is_ok_and(|bytes| bytes == [0; 4])
        }
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
            reader.fixed::<8>().is_ok_and(|bytes| bytes == [0; 8])
        }
        Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Enum(_) => {
            reader.varint().is_ok_and(|value| value as u32 == 0)
        }
        _ => reader.varint().is_ok_and(|value| value == 0),
    }
}
