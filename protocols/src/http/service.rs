//! Services in plain HTTP: paths and functions, without protobuf.

use std::sync::OnceLock;

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use iobuf::IoBuf;
use rpc::error::ENOMETHOD;
use rpc::{MethodDescriptor, RpcError, Schema, ServerCall, Service, ServiceDescriptor, ServiceOptions};

use super::state::HttpState;

/// What a handler of an [`HttpService`] may return.
pub trait IntoResponse {
    /// The response, or the error that the call fails with.
    ///
    /// # Errors
    /// As the handler has it; answered as the errors of all services are.
    fn into_response(self) -> Result<Response<IoBuf>, RpcError>;

    /// The same, without the fields of a response where there are none to choose.
    ///
    /// # Errors
    /// As [`into_response`](Self::into_response).
    #[doc(hidden)]
    fn into_answer(self) -> Result<Answer, RpcError>
    where
        Self: Sized,
    {
        self.into_response().map(Answer::Response)
    }
}

/// What a handler has answered.
#[doc(hidden)]
#[derive(Debug)]
pub enum Answer {
    /// Status 200 and a plain text.
    Text(IoBuf),
    /// Anything.
    Response(Response<IoBuf>),
}

/// The type of plain texts.
const TEXT: &str = "text/plain; charset=utf-8";

impl<B: Into<IoBuf>> IntoResponse for Response<B> {
    fn into_response(self) -> Result<Response<IoBuf>, RpcError> {
        Ok(self.map(Into::into))
    }
}

/// Status 200 without a body, unless the handler has made one through the call.
impl IntoResponse for () {
    fn into_response(self) -> Result<Response<IoBuf>, RpcError> {
        Ok(Response::new(IoBuf::new()))
    }
}

/// Status 200 and the text as `text/plain; charset=utf-8`.
impl IntoResponse for String {
    fn into_response(self) -> Result<Response<IoBuf>, RpcError> {
        Ok(plain(self.into()))
    }

    fn into_answer(self) -> Result<Answer, RpcError> {
        Ok(Answer::Text(self.into()))
    }
}

/// Status 200 and the text as `text/plain; charset=utf-8`.
impl IntoResponse for &'static str {
    fn into_response(self) -> Result<Response<IoBuf>, RpcError> {
        Ok(plain(self.into()))
    }

    fn into_answer(self) -> Result<Answer, RpcError> {
        Ok(Answer::Text(self.into()))
    }
}

/// The status alone.
impl IntoResponse for StatusCode {
    fn into_response(self) -> Result<Response<IoBuf>, RpcError> {
        let mut response = Response::new(IoBuf::new());
        *response.status_mut() = self;
        Ok(response)
    }
}

impl<T: IntoResponse> IntoResponse for Result<T, RpcError> {
    fn into_response(self) -> Result<Response<IoBuf>, RpcError> {
        self?.into_response()
    }

    fn into_answer(self) -> Result<Answer, RpcError> {
        self?.into_answer()
    }
}

fn plain(body: IoBuf) -> Response<IoBuf> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response
}

type Handler = Box<dyn Fn(&mut ServerCall, Request<IoBuf>) -> Result<Answer, RpcError> + Send + Sync>;

/// One path and what is done for it.
struct Route {
    path: String,
    /// By verb; `None` for all verbs that no other one is for.
    handlers: Vec<(Option<Method>, Handler)>,
}

/// A service of paths and functions, without protobuf. Its paths follow the rules of restful mappings
/// (`spec/protocols-http.md` §3): the text that one `*` stands for is
/// [`unresolved_path`](super::HttpCall::unresolved_path).
///
/// A HEAD is answered as the GET of its path would be, without the body; an OPTIONS with the verbs of the path; and a
/// verb that the path does not have with 405. Each path is counted as a method of the service, limits included.
///
/// ```
/// use http::{Request, Response};
/// use iobuf::IoBuf;
/// use protocols::http::HttpService;
///
/// let service = HttpService::new("Greeter")
///     .get("/hello/*", |request: Request<IoBuf>| format!("hello from {}\n", request.uri().path()))
///     .post("/echo", |request: Request<IoBuf>| Response::new(request.into_body()));
/// # drop(service);
/// ```
pub struct HttpService {
    name: &'static str,
    routes: Vec<Route>,
    /// Made when a server first asks.
    descriptor: OnceLock<&'static ServiceDescriptor>,
}

impl HttpService {
    /// A service of this name, which stands in lists and in the names of its methods. The name and those of its paths
    /// are kept for as long as the process lives.
    ///
    /// # Panics
    /// If the name is empty or has characters other than letters, digits, `_` and `.`.
    pub fn new(name: &str) -> Self {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        assert!(!name.is_empty() && name.bytes().all(is_name), "not the name of a service: {name}");
        HttpService { name: String::from(name).leak(), routes: Vec::new(), descriptor: OnceLock::new() }
    }

    /// Has all requests for a path that no verb's handler is for answered by `handler`.
    ///
    /// # Panics
    /// Here and in the other methods, if the path is empty or has a comma, a blank, `=` or `>`. What else is no path,
    /// or is taken, makes the start of the server fail.
    ///
    /// *Blocking*: handlers run in bthreads of their own and may park them.
    #[must_use]
    pub fn route<R: IntoResponse>(
        self,
        path: &str,
        handler: impl Fn(Request<IoBuf>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.with(None, path, Box::new(move |_, request| handler(request).into_answer()))
    }

    /// Has the requests of one verb for a path answered by `handler`.
    #[must_use]
    pub fn route_for<R: IntoResponse>(
        self,
        verb: Method,
        path: &str,
        handler: impl Fn(Request<IoBuf>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.with(Some(verb), path, Box::new(move |_, request| handler(request).into_answer()))
    }

    /// As [`route_for`](Self::route_for) GET.
    #[must_use]
    pub fn get<R: IntoResponse>(
        self,
        path: &str,
        handler: impl Fn(Request<IoBuf>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route_for(Method::GET, path, handler)
    }

    /// As [`route_for`](Self::route_for) POST.
    #[must_use]
    pub fn post<R: IntoResponse>(
        self,
        path: &str,
        handler: impl Fn(Request<IoBuf>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route_for(Method::POST, path, handler)
    }

    /// As [`route_for`](Self::route_for) PUT.
    #[must_use]
    pub fn put<R: IntoResponse>(
        self,
        path: &str,
        handler: impl Fn(Request<IoBuf>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route_for(Method::PUT, path, handler)
    }

    /// As [`route_for`](Self::route_for) DELETE.
    #[must_use]
    pub fn delete<R: IntoResponse>(
        self,
        path: &str,
        handler: impl Fn(Request<IoBuf>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route_for(Method::DELETE, path, handler)
    }

    /// As [`route`](Self::route), with the call beside the request: for bodies that are written or read as they go,
    /// attributes of the connection, compression.
    #[must_use]
    pub fn route_with_call<R: IntoResponse>(
        self,
        path: &str,
        handler: impl Fn(&mut ServerCall, Request<IoBuf>) -> R + Send + Sync + 'static,
    ) -> Self {
        self.with(None, path, Box::new(move |call, request| handler(call, request).into_answer()))
    }

    /// A verb that a path has already is answered by the handler that came last.
    fn with(mut self, verb: Option<Method>, path: &str, handler: Handler) -> Self {
        assert!(!path.is_empty() && !path.contains([',', ' ', '=', '>']), "not a path: {path}");
        self.descriptor = OnceLock::new();
        match self.routes.iter_mut().find(|route| route.path == path) {
            Some(route) => {
                route.handlers.retain(|(known, _)| *known != verb);
                route.handlers.push((verb, handler));
            }
            None => {
                self.routes.push(Route { path: path.to_owned(), handlers: vec![(verb, handler)] });
            }
        }
        self
    }
}

impl Route {
    /// The handler for a verb: its own, for HEAD that of GET, or that of all.
    fn handler(&self, verb: &Method) -> Option<&Handler> {
        let of = |verb: Option<&Method>| {
            self.handlers.iter().find(|(known, _)| known.as_ref() == verb).map(|(_, handler)| handler)
        };
        let as_get = || if *verb == Method::HEAD { of(Some(&Method::GET)) } else { None };
        of(Some(verb)).or_else(as_get).or_else(|| of(None))
    }

    /// The verbs that have a handler, and those that are answered without one.
    fn allowed(&self) -> HeaderValue {
        let mut verbs: Vec<_> =
            self.handlers.iter().filter_map(|(verb, _)| verb.as_ref()).map(Method::as_str).collect();
        if verbs.contains(&"GET") {
            verbs.push("HEAD");
        }
        verbs.push("OPTIONS");
        verbs.sort_unstable();
        verbs.dedup();
        // Verbs are tokens.
        HeaderValue::from_str(&verbs.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
    }

    /// What is answered to a verb without a handler.
    fn without_handler(&self, verb: &Method) -> Response<IoBuf> {
        let mut response = Response::new(IoBuf::new());
        let is_asked = *verb == Method::OPTIONS;
        *response.status_mut() =
            if is_asked { StatusCode::NO_CONTENT } else { StatusCode::METHOD_NOT_ALLOWED };
        response.headers_mut().insert(ALLOW, self.allowed());
        response
    }
}

/// The name of a path's method: what a name can have of it, and a number if others have the same.
fn method_name(path: &str, taken: &[MethodDescriptor]) -> String {
    let mut name = String::new();
    for part in path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        if !name.is_empty() {
            name.push('_');
        }
        name.push_str(part);
    }
    if path.ends_with('*') {
        name.push_str(if name.is_empty() { "any" } else { "_any" });
    } else if name.is_empty() {
        name.push_str("root");
    }
    let is_taken = |name: &str| taken.iter().any(|method| method.name == name);
    match (2..).map(|number| format!("{name}_{number}")).find(|numbered| !is_taken(numbered)) {
        Some(numbered) if is_taken(&name) => numbered,
        _ => name,
    }
}

impl Service for HttpService {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.descriptor.get_or_init(|| {
            let mut methods: Vec<MethodDescriptor> = Vec::new();
            for route in &self.routes {
                let name: &'static str = method_name(&route.path, &methods).leak();
                methods.push(MethodDescriptor {
                    name,
                    full_name: format!("{}.{name}", self.name).leak(),
                    request_type: "",
                    response_type: "",
                    schema: &Schema::NONE,
                });
            }
            let methods: &'static [MethodDescriptor] = methods.leak();
            Box::leak(Box::new(ServiceDescriptor { full_name: self.name, methods, schema: &Schema::NONE }))
        })
    }

    fn options(&self) -> ServiceOptions {
        let names = self.descriptor().methods.iter().map(|method| method.name);
        let mappings: Vec<_> =
            self.routes.iter().zip(names).map(|(route, name)| format!("{} => {name}", route.path)).collect();
        ServiceOptions::default().restful(mappings.join(", "))
    }

    fn call(&self, method: usize, mut call: ServerCall, body: IoBuf) {
        let (Some(route), Some(state)) = (self.routes.get(method), call.protocol_state_mut::<HttpState>())
        else {
            return call.fail(RpcError::new(ENOMETHOD, "This service speaks HTTP alone"));
        };
        let response = match route.handler(&state.head.method) {
            None => Ok(Answer::Response(route.without_handler(&state.head.method))),
            Some(handler) => {
                let request = Request::from_parts(state.take_parts(), body);
                handler(&mut call, request)
            }
        };
        match response {
            Ok(Answer::Text(text)) => succeed_with_text(call, text),
            Ok(Answer::Response(response)) => succeed(call, response),
            Err(error) => call.fail(error),
        }
    }
}

impl std::fmt::Debug for HttpService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths: Vec<_> = self.routes.iter().map(|route| &route.path).collect();
        f.debug_struct("HttpService").field("name", &self.name).field("paths", &paths).finish()
    }
}

/// Answers with a text, whose type counts unless the handler has chosen one.
fn succeed_with_text(mut call: ServerCall, text: IoBuf) {
    if let Some(state) = call.protocol_state_mut::<HttpState>() {
        state.type_of_body = Some(TEXT);
    }
    call.response_attachment().append_buf(text);
    call.succeed_encoded(&IoBuf::new());
}

/// Answers with a response. Fields that the handler has set through the call take the place of the response's, whose
/// type may be one that nobody chose.
fn succeed(mut call: ServerCall, response: Response<IoBuf>) {
    let (mut parts, body) = response.into_parts();
    if let Some(state) = call.protocol_state_mut::<HttpState>() {
        if let Some(before) = state.response() {
            let chosen = before.headers.clone();
            chosen.keys().for_each(|name| drop(parts.headers.remove(name)));
            parts.headers.extend(chosen);
        }
        state.set_response(parts);
    }
    call.response_attachment().append_buf(body);
    call.succeed_encoded(&IoBuf::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_methods_and_mappings() {
        let service = HttpService::new("a.Web")
            .get("/hello/*", |_| "")
            .post("/hello/*", |_| "")
            .get("/hello/any", |_| "")
            .route("*", |_| "")
            .delete("/x.y/", |_| StatusCode::NO_CONTENT);
        let names: Vec<_> = service.descriptor().methods.iter().map(|method| method.full_name).collect();
        assert_eq!(names, ["a.Web.hello_any", "a.Web.hello_any_2", "a.Web.any", "a.Web.x_y"]);
        assert!(std::ptr::eq(service.descriptor(), service.descriptor()));
        assert_eq!(service.routes[0].allowed(), "GET, HEAD, OPTIONS, POST");
        assert!(service.routes[0].handler(&Method::HEAD).is_some());
        assert!(service.routes[0].handler(&Method::PUT).is_none());
        assert!(service.routes[2].handler(&Method::OPTIONS).is_some());
        assert!(service.routes[3].handler(&Method::HEAD).is_none());
    }

    #[test]
    #[should_panic(expected = "not a path")]
    fn a_path_that_a_mapping_cannot_have_panics() {
        let _ = HttpService::new("Web").get("/a, /b", |_| "");
    }
}
