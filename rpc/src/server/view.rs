//! What a running server tells its debug pages. Reads alone; a page must not change how requests are served.

use std::time::SystemTime;

use super::state::ServerState;
use crate::builtin::{ConnectionInfo, MethodInfo, PageOptions, ServerView, ServiceInfo, Traffic};
use crate::limits::Limits;
use crate::protocol::Role;
use crate::socket::{SOCKETS_MAX, Socket, Totals};
use crate::transport::Endpoint;

impl ServerView for ServerState {
    fn listening(&self) -> &Endpoint {
        &self.local
    }

    fn internal(&self) -> Option<&Endpoint> {
        self.internal.as_ref()
    }

    fn options(&self) -> &PageOptions {
        &self.pages
    }

    fn version(&self) -> String {
        match &self.version {
            Some(version) => version.clone(),
            None => {
                let names: Vec<_> =
                    self.services().iter().map(|service| service.descriptor.short_name()).collect();
                names.join("+")
            }
        }
    }

    fn started(&self) -> SystemTime {
        self.started
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping()
    }

    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    fn connection_count(&self) -> usize {
        self.connection_count()
    }

    fn max_connections(&self) -> usize {
        self.max_connections
    }

    fn concurrency(&self) -> usize {
        self.methods.concurrency()
    }

    fn max_concurrency(&self) -> usize {
        self.max_concurrency()
    }

    fn non_service_errors(&self) -> i64 {
        self.non_service_errors.get()
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn protocols(&self) -> Vec<&'static str> {
        self.protocols.iter().map(|protocol| protocol.name()).collect()
    }

    fn services(&self) -> Vec<ServiceInfo> {
        let mut services: Vec<ServiceInfo> = Vec::new();
        for method in self.methods.methods() {
            let descriptor = method.service.descriptor();
            let info = MethodInfo {
                descriptor: method.descriptor,
                paths: method.paths.clone(),
                variables: self.variables_of(method),
                max_concurrency: method.max_concurrency(),
            };
            match services.last_mut() {
                Some(service) if service.descriptor.full_name == descriptor.full_name => {
                    service.methods.push(info)
                }
                _ => services.push(ServiceInfo { descriptor, methods: vec![info] }),
            }
        }
        services
    }

    fn connections(&self, max: usize) -> Vec<ConnectionInfo> {
        let mut ids = self.connection_ids();
        ids.sort_unstable();
        ids.into_iter().filter_map(Socket::address).take(max).map(|socket| info(&socket)).collect()
    }

    fn channel_connections(&self, max: usize) -> (Vec<ConnectionInfo>, usize) {
        let mut count = 0;
        let mut infos = Vec::new();
        for socket in Socket::all().filter(|socket| socket.role() == Role::Client) {
            count += 1;
            if infos.len() < max {
                infos.push(info(&socket));
            }
        }
        infos.sort_unstable_by_key(|info| info.id);
        (infos, count)
    }

    fn socket(&self, id: u64) -> Option<Vec<(&'static str, String)>> {
        Socket::address(id).map(|socket| socket.dump())
    }

    fn socket_counts(&self) -> (usize, usize) {
        (Socket::count(), SOCKETS_MAX)
    }

    fn transport_security(&self) -> String {
        "none".to_owned()
    }
}

fn info(socket: &Socket) -> ConnectionInfo {
    let (second, minute) = socket.rates();
    ConnectionInfo {
        id: socket.id(),
        created: Some(socket.created()),
        remote: socket.remote().clone(),
        local: Some(socket.local().clone()),
        is_secured: false,
        protocol: socket.protocol_name(),
        pooled: None,
        descriptor: socket.descriptor_number(),
        traffic: Some(traffic(second, minute)),
        rtt: socket.tcp_info().map(|info| (info.rtt, info.rttvar)),
        breaker: None,
    }
}

fn traffic(second: Totals, minute: Totals) -> Traffic {
    Traffic {
        in_bytes_second: second.in_bytes,
        in_messages_second: second.in_messages,
        in_bytes_minute: minute.in_bytes,
        in_messages_minute: minute.in_messages,
        out_bytes_second: second.out_bytes,
        out_messages_second: second.out_messages,
        out_bytes_minute: minute.out_bytes,
        out_messages_minute: minute.out_messages,
    }
}
