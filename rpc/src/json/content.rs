//! Messages in the form that a body has them in, to protobuf and back.

use std::borrow::Cow;

use iobuf::IoBuf;

use super::{
    JsonError, JsonOptions, json_to_proto, proto_json_to_proto, proto_to_json, proto_to_proto_json,
    proto_to_text, text_to_proto,
};
use crate::message::ContentType;
use crate::schema::Schema;

/// Messages up to this size are copied rather than shared.
const COPIED_MAX: usize = 512;

/// Makes protobuf of the message in `body`, which is of this form. `options` are for [`ContentType::Json`].
///
/// *Blocking*: as [`proto_json_to_proto`], but for [`ContentType::Pb`] and [`ContentType::Json`], which do not.
///
/// # Errors
/// An unknown message, and whatever is not of the form. Protobuf is passed on as it is.
pub fn content_to_proto(
    schema: &Schema,
    message: &str,
    content: ContentType,
    options: &JsonOptions,
    body: IoBuf,
) -> Result<IoBuf, JsonError> {
    let wire = match content {
        ContentType::Pb => return Ok(body),
        ContentType::Json => {
            json_to_proto(schema, message, &contiguous(&body), options).map(|(wire, _)| wire)
        }
        ContentType::ProtoJson => proto_json_to_proto(schema, message, &contiguous(&body)),
        ContentType::ProtoText => text_to_proto(schema, message, &contiguous(&body)),
    };
    wire.map(buffer)
}

/// Undoes [`content_to_proto`].
///
/// *Blocking*: as [`content_to_proto`].
///
/// # Errors
/// An unknown message, and bytes that are not one. Protobuf is passed on as it is.
pub fn proto_to_content(
    schema: &Schema,
    message: &str,
    content: ContentType,
    options: &JsonOptions,
    wire: IoBuf,
) -> Result<IoBuf, JsonError> {
    if content == ContentType::Pb {
        return Ok(wire);
    }
    let (bytes, mut out) = (contiguous(&wire), Vec::with_capacity(wire.len() * 2));
    match content {
        ContentType::Pb => {}
        ContentType::Json => proto_to_json(schema, message, &bytes, options, &mut out)?,
        ContentType::ProtoJson => proto_to_proto_json(schema, message, &bytes, &mut out)?,
        ContentType::ProtoText => proto_to_text(schema, message, &bytes, &mut out)?,
    }
    Ok(buffer(out))
}

/// The bytes in one slice.
fn contiguous(body: &IoBuf) -> Cow<'_, [u8]> {
    let front = body.front();
    if front.len() == body.len() { front.into() } else { body.to_vec().into() }
}

/// The bytes as a buffer: few are copied into a block that is there, which costs less than a block of their own.
fn buffer(bytes: Vec<u8>) -> IoBuf {
    if bytes.len() <= COPIED_MAX { IoBuf::from(bytes.as_slice()) } else { bytes.into() }
}
