//! What is decided about a service when it is given to a server (brpc: `ServiceOptions`).

/// What a service is to be like. Given with it to
/// [`ServerBuilder::add_with`](super::ServerBuilder::add_with).
///
/// ```
/// let options = rpc::ServiceOptions::default().restful("/v1/echo => Echo, /v1/files/* => Get");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ServiceOptions {
    pub(crate) restful: String,
    pub(crate) allow_default_url: bool,
    pub(crate) enable_progressive_read: bool,
    pub(crate) allow_http_body_to_pb: bool,
    pub(crate) pb_bytes_to_base64: bool,
    pub(crate) pb_single_repeated_to_array: bool,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        ServiceOptions {
            restful: String::new(),
            allow_default_url: false,
            enable_progressive_read: false,
            allow_http_body_to_pb: true,
            pb_bytes_to_base64: true,
            pb_single_repeated_to_array: false,
        }
    }
}

impl ServiceOptions {
    /// Paths that lead to methods, for protocols that have paths: `"PATH => Method, PATH2 => Method2"`
    /// (`spec/protocols-http.md` §3). One `*` at the start or behind a `/` stands for any text. Methods that are named
    /// here are reached by their paths alone, the others by `/Service/Method`. Default: none.
    pub fn restful(mut self, mappings: impl Into<String>) -> Self {
        self.restful = mappings.into();
        self
    }

    /// Whether methods with restful paths are reached by `/Service/Method` as well. Default: no.
    pub fn allow_default_url(mut self, allow: bool) -> Self {
        self.allow_default_url = allow;
        self
    }

    /// Whether bodies that have not arrived whole with their heads are read by the methods as they arrive, with
    /// [`ServerCall::take_body`](super::ServerCall::take_body), and have no limit. Default: no.
    pub fn enable_progressive_read(mut self, enable: bool) -> Self {
        self.enable_progressive_read = enable;
        self
    }

    /// Whether bodies of HTTP requests are made request messages. If not they are left as attachments. Default: yes.
    pub fn allow_http_body_to_pb(mut self, allow: bool) -> Self {
        self.allow_http_body_to_pb = allow;
        self
    }

    /// Whether `bytes` fields are base64 in JSON. Default: yes.
    pub fn pb_bytes_to_base64(mut self, encode: bool) -> Self {
        self.pb_bytes_to_base64 = encode;
        self
    }

    /// Whether a message with one field, a repeated one, is an array in JSON. Default: no.
    pub fn pb_single_repeated_to_array(mut self, convert: bool) -> Self {
        self.pb_single_repeated_to_array = convert;
        self
    }

    /// See [`enable_progressive_read`](Self::enable_progressive_read).
    pub fn reads_progressively(&self) -> bool {
        self.enable_progressive_read
    }

    /// See [`allow_http_body_to_pb`](Self::allow_http_body_to_pb).
    pub fn makes_messages_of_bodies(&self) -> bool {
        self.allow_http_body_to_pb
    }

    /// See [`pb_bytes_to_base64`](Self::pb_bytes_to_base64).
    pub fn encodes_bytes(&self) -> bool {
        self.pb_bytes_to_base64
    }

    /// See [`pb_single_repeated_to_array`](Self::pb_single_repeated_to_array).
    pub fn converts_single_repeated(&self) -> bool {
        self.pb_single_repeated_to_array
    }
}
