//! What is decided about a service when it is given to a server (brpc: `ServiceOptions`).

use super::runs_on::RunsOn;
use crate::error::{EINVAL, RpcError};
use crate::service::ServiceDescriptor;

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
    runs_on: Option<RunsOn>,
    ignore_eovercrowded: bool,
    /// Those of single methods, by their bare names.
    methods: Vec<(String, MethodChoice)>,
}

/// What is decided about one method.
#[derive(Clone, Copy, Debug)]
enum MethodChoice {
    RunsOn(RunsOn),
    IgnoreEovercrowded(bool),
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
            runs_on: None,
            ignore_eovercrowded: false,
            methods: Vec::new(),
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

    /// Where the code of the methods runs. Default: what
    /// [`ServerBuilder::usercode_in_pthread`](super::ServerBuilder::usercode_in_pthread) says.
    pub fn runs_on(mut self, runs_on: RunsOn) -> Self {
        self.runs_on = Some(runs_on);
        self
    }

    /// As [`runs_on`](Self::runs_on), for one method, by its bare name. A server does not start with a name that is none.
    pub fn method_runs_on(mut self, method: impl Into<String>, runs_on: RunsOn) -> Self {
        self.methods.push((method.into(), MethodChoice::RunsOn(runs_on)));
        self
    }

    /// Whether requests run though the answers to their connection pile up (brpc: `ignore_eovercrowded`); those are held
    /// in memory then, however many. Default: no.
    pub fn ignore_eovercrowded(mut self, ignore: bool) -> Self {
        self.ignore_eovercrowded = ignore;
        self
    }

    /// As [`ignore_eovercrowded`](Self::ignore_eovercrowded), for one method, by its bare name. A server does not start
    /// with a name that is none.
    pub fn method_ignores_eovercrowded(mut self, method: impl Into<String>, ignore: bool) -> Self {
        self.methods.push((method.into(), MethodChoice::IgnoreEovercrowded(ignore)));
        self
    }

    /// What a server decides for all of its services that do not decide themselves.
    pub(super) fn or_server(mut self, runs_on: RunsOn, ignore_eovercrowded: bool) -> Self {
        self.runs_on.get_or_insert(runs_on);
        self.ignore_eovercrowded |= ignore_eovercrowded;
        self
    }

    pub(super) fn runs_on_of(&self, method: &str) -> RunsOn {
        let own = self.methods.iter().rev().find_map(|(name, choice)| match choice {
            MethodChoice::RunsOn(runs_on) if name == method => Some(*runs_on),
            _ => None,
        });
        own.or(self.runs_on).unwrap_or_default()
    }

    pub(super) fn ignores_eovercrowded(&self, method: &str) -> bool {
        let own = self.methods.iter().rev().find_map(|(name, choice)| match choice {
            MethodChoice::IgnoreEovercrowded(ignore) if name == method => Some(*ignore),
            _ => None,
        });
        own.unwrap_or(self.ignore_eovercrowded)
    }

    /// Whether the methods and runtimes that are named exist.
    pub(super) fn check_methods(&self, service: &ServiceDescriptor) -> Result<(), RpcError> {
        let invalid = |text| Err(RpcError::new(EINVAL, text));
        for (name, _) in &self.methods {
            if !service.methods.iter().any(|method| method.name == name) {
                return invalid(format!("options for method={name}: service={} has none", service.full_name));
            }
        }
        for method in service.methods {
            if let RunsOn::Runtime(tag) = self.runs_on_of(method.name)
                && bthread::Runtime::by_tag(tag).is_none()
            {
                return invalid(format!("No runtime has bthread_tag={tag} of method={}", method.full_name));
            }
        }
        Ok(())
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
