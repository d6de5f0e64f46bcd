//! Tests of how requests find their methods, by names and by paths.

use super::*;
use crate::limit::Constant;
use crate::server::ServerCall;
use iobuf::IoBuf;
use std::sync::atomic::AtomicUsize;

pub(crate) struct Named(pub(crate) &'static ServiceDescriptor);

impl Service for Named {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.0
    }

    fn call(&self, _: usize, _: ServerCall, _: IoBuf) {}
}

macro_rules! service {
    ($full_name:literal, $($method:literal),*) => {
        Arc::new(Named(&ServiceDescriptor {
            full_name: $full_name,
            methods: &[$(MethodDescriptor {
                name: $method,
                full_name: concat!($full_name, ".", $method),
                request_type: "",
                response_type: "",
                schema: &crate::Schema::NONE,
            }),*],
            schema: &crate::Schema::NONE,
        })) as Arc<dyn Service>
    };
}

fn plain(services: Vec<Arc<dyn Service>>) -> Vec<(Arc<dyn Service>, ServiceOptions)> {
    services.into_iter().map(|service| (service, ServiceOptions::default())).collect()
}

fn by_path(table: &MethodTable, path: &str) -> String {
    let recent = AtomicUsize::new(usize::MAX);
    match Routes::new(table, &recent).find_path(path) {
        Ok(PathMatch { target: Target::Method(id), unresolved }) => {
            format!("{} {unresolved}", table.method(id).descriptor.full_name)
        }
        Ok(PathMatch { target: Target::Master(_), .. }) => unreachable!("no path leads to it"),
        Ok(PathMatch { target: Target::Page(_), unresolved }) => format!("page {unresolved}"),
        Ok(PathMatch { target: Target::NoMethod(_), unresolved }) => format!("help {unresolved}"),
        Err(missing) => format!("{missing:?}"),
    }
}

#[test]
fn paths_lead_to_methods_by_names() {
    let services = vec![service!("a.Echo", "Echo", "Ping"), service!("b.Files", "default_method", "Get")];
    let table = MethodTable::new(plain(services), HashMap::new(), "unlimited", false).unwrap();
    for (path, expected) in [
        ("/a.Echo/Echo", "a.Echo.Echo "),
        ("/Echo/Ping", "a.Echo.Ping "),
        ("//Echo///Ping//x//y/", "a.Echo.Ping x/y"),
        ("Echo/Echo/x", "a.Echo.Echo x"),
        ("/Files/Get/x", "b.Files.Get x"),
        ("/Files/x/y", "b.Files.default_method x/y"),
        ("/Files", "b.Files.default_method "),
        ("/Echo", "Method"),
        ("/Echo/Nothing", "Method"),
        ("/echo/Echo", "Service"),
        ("/a.Nobody/Echo", "Service"),
        ("/", "Service"),
        ("", "Service"),
    ] {
        assert_eq!(by_path(&table, path), expected, "{path}");
    }
}

#[test]
fn restful_paths_lead_to_methods_in_order() {
    let restful = |text: &str| ServiceOptions::default().restful(text);
    let services = vec![
        (service!("a.Echo", "Echo", "Ping"), restful("/v1/echo => Echo, /v1/* => Echo, *.js => Echo")),
        (service!("b.Both", "Get"), restful("/v1/both => Get, * => Get").allow_default_url(true)),
    ];
    let table = MethodTable::new(services, HashMap::new(), "unlimited", false).unwrap();
    for (path, expected) in [
        ("/v1/echo", "a.Echo.Echo "),
        ("/v1/x/y", "a.Echo.Echo x/y"),
        ("/v1/both", "b.Both.Get "),
        ("/Echo/Ping", "a.Echo.Ping "),
        ("/Echo/Echo", "Method"),
        ("/Both/Get", "b.Both.Get "),
        ("/Echo/Nothing", "b.Both.Get Echo/Nothing"),
        ("/x/y.js", "a.Echo.Echo x/y"),
        ("/x", "b.Both.Get x"),
        ("/", "b.Both.Get "),
    ] {
        assert_eq!(by_path(&table, path), expected, "{path}");
    }
}

#[test]
fn pages_win_and_help_where_there_are_any() {
    let services = vec![service!("a.Echo", "Echo")];
    let table = MethodTable::new(plain(services), HashMap::new(), "unlimited", true).unwrap();
    for (path, expected) in [
        ("/", "page "),
        ("/vars/a/b", "page a/b"),
        ("/Echo/Echo", "a.Echo.Echo "),
        ("/Echo", "help "),
        ("/Echo/Nothing/x", "help Nothing"),
        ("/a.Echo/Nothing", "Method"),
        ("/Nobody", "Service"),
    ] {
        assert_eq!(by_path(&table, path), expected, "{path}");
    }
}

#[test]
fn restful_paths_that_cannot_be_are_refused() {
    for (mappings, has_pages) in [
        ("/v1 => Nothing", false),
        ("/a.Echo/x => Echo", false),
        ("/Echo => Echo", false),
        ("/v1 => Echo, /v1/ => Ping", false),
        ("/v1", false),
    ] {
        let services =
            vec![(service!("a.Echo", "Echo", "Ping"), ServiceOptions::default().restful(mappings))];
        let error = MethodTable::new(services, HashMap::new(), "unlimited", has_pages).err().unwrap();
        assert_eq!(error.code(), EINVAL, "{mappings}");
    }
}

fn find(table: &MethodTable, service: &str, method: &str) -> Result<&'static str, NoRoute> {
    let recent = AtomicUsize::new(usize::MAX);
    let routes = Routes::new(table, &recent);
    let find = || routes.find(service.as_bytes(), method.as_bytes());
    let first = find();
    assert_eq!(first, find(), "the second time, from memory");
    first.map(|id| table.method(id).descriptor.full_name)
}

#[test]
fn names_lead_to_methods_as_in_brpc() {
    let services = vec![service!("a.Echo", "Echo", "Ping"), service!("b.Other", "Echo")];
    let table = MethodTable::new(plain(services), HashMap::new(), "unlimited", true).unwrap();
    assert_eq!(find(&table, "a.Echo", "Ping"), Ok("a.Echo.Ping"));
    assert_eq!(find(&table, "b.Other", "Echo"), Ok("b.Other.Echo"));
    assert_eq!(find(&table, "Other", "Echo"), Ok("b.Other.Echo"));
    assert_eq!(find(&table, "Nobody", "Echo"), Err(NoRoute::Service));
    assert_eq!(find(&table, "", ""), Err(NoRoute::Service));
    assert_eq!(find(&table, "a.Nobody", "Echo"), Err(NoRoute::Method), "a name with a dot");
    assert_eq!(find(&table, "a.Echo", "Nothing"), Err(NoRoute::Method));
    assert_eq!(find(&table, "Echo", "Nothing"), Err(NoRoute::Method));
    let recent = AtomicUsize::new(0);
    assert_eq!(Routes::new(&table, &recent).find(b"Echo", b"\xff"), Err(NoRoute::Method));
    assert_eq!(Routes::new(&table, &recent).find(b"\xff", b"Echo"), Err(NoRoute::Service));
}

#[test]
fn names_taken_twice_are_refused() {
    let twice = |a, b| {
        MethodTable::new(plain(vec![a, b]), HashMap::new(), "unlimited", true)
            .err()
            .map(|error| error.to_string())
    };
    let error = twice(service!("a.Echo", "A"), service!("a.Echo", "B")).unwrap();
    assert_eq!(error, "[E22]service=a.Echo was added twice");
    let error = twice(service!("a.Echo", "A"), service!("b.Echo", "B")).unwrap();
    assert_eq!(error, "[E22]service=b.Echo has the short name of service=a.Echo");
}

#[test]
fn a_limiter_needs_its_method() {
    let limit = |name: &str| {
        let limiters =
            HashMap::from([(name.to_owned(), Box::new(Constant::new(1)) as Box<dyn ConcurrencyLimiter>)]);
        MethodTable::new(plain(vec![service!("a.Echo", "A")]), limiters, "0", true)
    };
    assert!(limit("a.Echo.A").unwrap().methods()[0].limit.is_some());
    assert_eq!(limit("a.Echo.B").err().unwrap().code(), EINVAL);
}
