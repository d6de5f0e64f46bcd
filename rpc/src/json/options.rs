//! What can be chosen of the mapping.

/// Options of the conversions between JSON and protobuf, for both directions.
///
/// ```
/// let mut options = rpc::json::JsonOptions::default();
/// options.enum_as_number = true;
/// assert!(options.bytes_to_base64 && !options.strict);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonOptions {
    /// `bytes` fields are base64 text (standard alphabet, padded); if not, the bytes are the text. Default: true.
    pub bytes_to_base64: bool,
    /// A top-level message whose only field is repeated is a JSON array, both ways. Default: false.
    pub single_repeated_to_array: bool,
    /// Empty repeated fields are written as `[]`; if not, they are left out. Default: false.
    pub jsonify_empty_array: bool,
    /// Fields that are not set are written with their defaults, and messages that are not set with all that is in
    /// them, except where a message would contain itself. Members of a `oneof` and extensions are not. Default: false.
    pub always_print_primitive_fields: bool,
    /// Enums are written as numbers. Both are read in any case. Default: false.
    pub enum_as_number: bool,
    /// Four spaces of indentation, one member or element on a line. Default: false.
    pub pretty: bool,
    /// A value of a wrong type is always an error. If not, it is skipped, with a note, in optional fields of scalar
    /// and enum types, as brpc does. Default: false.
    pub strict: bool,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self {
            bytes_to_base64: true,
            single_repeated_to_array: false,
            jsonify_empty_array: false,
            always_print_primitive_fields: false,
            enum_as_number: false,
            pretty: false,
            strict: false,
        }
    }
}
