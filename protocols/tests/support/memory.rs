//! A transport of the test's own: connections are two buffers of this process. Nothing above may need a descriptor.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use iobuf::{IoBuf, IoPortal};
use rpc::RpcError;
use rpc::transport::{
    Connector, Endpoint, EventHandler, Listener, Readiness, Received, Registration, SocketOptions, Transport,
};

/// Bytes that one direction holds.
const PIPE_BYTES_MAX: usize = 16 << 10;

type Handler = Arc<dyn EventHandler>;

/// One direction.
#[derive(Default)]
struct Pipe(Mutex<State>);

#[derive(Default)]
struct State {
    bytes: IoBuf,
    is_closed: bool,
    reader: Option<Handler>,
    writer: Option<Handler>,
}

/// One end of a connection.
struct End {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

fn tell(handler: Option<Handler>, readiness: Readiness) {
    if let Some(handler) = handler {
        handler.on_event(readiness);
    }
}

impl Transport for End {
    fn read(&self, into: &mut IoPortal, max: usize) -> io::Result<Received> {
        let (bytes, drained, writer) = {
            let mut state = self.incoming.0.lock().unwrap();
            if state.bytes.is_empty() {
                let is_closed = state.is_closed;
                return if is_closed {
                    Ok(Received { bytes: 0, drained: true })
                } else {
                    Err(io::ErrorKind::WouldBlock.into())
                };
            }
            let was_full = state.bytes.len() >= PIPE_BYTES_MAX;
            let cut = state.bytes.cut(max);
            let bytes = cut.len();
            into.append_buf(cut);
            (bytes, false, was_full.then(|| state.writer.clone()).flatten())
        };
        tell(writer, Readiness::new(false, true, false));
        Ok(Received { bytes, drained })
    }

    fn write(&self, from: &mut IoBuf) -> io::Result<usize> {
        let (bytes, reader) = {
            let mut state = self.outgoing.0.lock().unwrap();
            if state.is_closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let room = PIPE_BYTES_MAX - state.bytes.len();
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let cut = from.cut(room);
            let bytes = cut.len();
            state.bytes.append_buf(cut);
            (bytes, state.reader.clone())
        };
        tell(reader, Readiness::new(true, false, false));
        Ok(bytes)
    }

    fn register(&self, handler: Handler) -> io::Result<Registration> {
        self.incoming.0.lock().unwrap().reader = Some(handler.clone());
        self.outgoing.0.lock().unwrap().writer = Some(handler.clone());
        handler.on_event(Readiness::new(true, true, false));
        Ok(Registration::new(Registered(self.incoming.clone(), self.outgoing.clone())))
    }

    fn is_connected(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn shutdown(&self) {
        for pipe in [&self.incoming, &self.outgoing] {
            let (reader, writer) = {
                let mut state = pipe.0.lock().unwrap();
                state.is_closed = true;
                (state.reader.clone(), state.writer.clone())
            };
            tell(reader, Readiness::new(true, false, true));
            tell(writer, Readiness::new(false, true, false));
        }
    }

    fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::Named("memory".into()))
    }
}

/// Ends the registration of one end.
struct Registered(Arc<Pipe>, Arc<Pipe>);

impl Drop for Registered {
    fn drop(&mut self) {
        let reader = self.0.0.lock().unwrap().reader.take();
        let writer = self.1.0.lock().unwrap().writer.take();
        drop((reader, writer));
    }
}

/// Ends the registration of the listener.
struct Listening(Arc<Waiting>);

impl Drop for Listening {
    fn drop(&mut self) {
        let handler = self.0.ends.lock().unwrap().1.take();
        drop(handler);
    }
}

/// A network with one address.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Connections to be accepted, and who is told.
    ends: Mutex<(VecDeque<End>, Option<Handler>)>,
    connects: AtomicUsize,
}

impl Memory {
    /// Connections that were made so far.
    pub(crate) fn connects(&self) -> usize {
        self.0.connects.load(Ordering::SeqCst)
    }
}

impl Connector for Memory {
    fn resolve(&self, address: &str) -> Result<Endpoint, RpcError> {
        Ok(Endpoint::Named(address.into()))
    }

    fn connect(&self, _: &Endpoint, _: &SocketOptions) -> io::Result<Box<dyn Transport>> {
        let (there, back) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
        let handler = {
            let mut waiting = self.0.ends.lock().unwrap();
            waiting.0.push_back(End { incoming: there.clone(), outgoing: back.clone() });
            waiting.1.clone()
        };
        self.0.connects.fetch_add(1, Ordering::SeqCst);
        tell(handler, Readiness::new(true, false, false));
        Ok(Box::new(End { incoming: back, outgoing: there }))
    }
}

impl Listener for Memory {
    fn accept(&self) -> io::Result<(Box<dyn Transport>, Endpoint)> {
        let end = self.0.ends.lock().unwrap().0.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        Ok((Box::new(end), Endpoint::Named("somebody".into())))
    }

    fn register(&self, handler: Handler) -> io::Result<Registration> {
        self.0.ends.lock().unwrap().1 = Some(handler.clone());
        handler.on_event(Readiness::new(true, false, false));
        Ok(Registration::new(Listening(self.0.clone())))
    }

    fn local(&self) -> io::Result<Endpoint> {
        Ok(Endpoint::Named("memory".into()))
    }
}
