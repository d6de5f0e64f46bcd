//! Serves `features.FeatureService` on several ports, each with a server of its own, and says which:
//!
//!     ready plain=H:P auth=H:P limit=H:P generic=H:P logoff=H:P intercept=H:P
//!
//! The client's counterpart may be this program's sibling or one that links brpc. Ends when its input does.

mod kept;
mod service;
mod streams;

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use bobbin::prost::Message;
use bobbin::rpc::auth::{AuthContext, Authenticator};
use bobbin::rpc::compress;
use bobbin::rpc::limit::Constant;
use bobbin::rpc::message::{ContentType, Encoding};
use bobbin::rpc::server::MasterCall;
use bobbin::{Endpoint, IoBuf, Limits, RpcError, Server, ServerCall, error};
use bobbin_tests::features::{FeatureRequest, FeatureResponse, FeatureServer, Seen};

use kept::Kept;
use service::{Features, Stoppable};

/// The largest message that is taken: those of the features are larger than the default allows.
const MAX_BODY_SIZE: usize = 256 << 20;

/// What a credential that is accepted begins with; the user's name follows.
const SECRET: &[u8] = b"secret:";

struct Secret;

impl Authenticator for Secret {
    fn generate_credential(&self) -> Result<Vec<u8>, RpcError> {
        Err(RpcError::new(error::ERPCAUTH, "a server has none"))
    }

    fn verify_credential(&self, credential: &[u8], _: &Endpoint) -> Result<AuthContext, RpcError> {
        let user = credential.strip_prefix(SECRET).ok_or(RpcError::new(error::ERPCAUTH, "no such secret"))?;
        Ok(AuthContext { user: String::from_utf8_lossy(user).into_owned(), ..AuthContext::default() })
    }
}

fn intercept(call: &ServerCall) -> Result<(), RpcError> {
    if call.log_id() == Some(13) { Err(RpcError::new(4321, "unlucky")) } else { Ok(()) }
}

/// Answers every method with the names that were called, in the encoding of the request.
fn generic(mut call: MasterCall) {
    let encoding = call.encoding();
    match answer_generic(&call) {
        Ok(body) => {
            let attachment = call.call_mut().take_request_attachment();
            call.call_mut().response_attachment().append_buf(attachment);
            call.succeed(&body, Encoding { content: ContentType::Pb, ..encoding });
        }
        Err(text) => call.fail(RpcError::new(error::EREQUEST, text)),
    }
}

fn answer_generic(call: &MasterCall) -> Result<IoBuf, String> {
    let compress = call.encoding().compress;
    if !call.is_intact() {
        return Err("the checksum is wrong".into());
    }
    let body =
        compress::decompress(compress, call.body(), MAX_BODY_SIZE).map_err(|error| error.to_string())?;
    let request = FeatureRequest::decode(&body.to_vec()[..]).map_err(|error| error.to_string())?;
    let response = FeatureResponse {
        message: Some(format!("{}/{}:{}", call.service_name(), call.method_name(), request.message())),
        seen: Some(Seen { compress_type: Some(compress.get()), ..Seen::default() }),
        ..FeatureResponse::default()
    };
    compress::compress(compress, &IoBuf::from(response.encode_to_vec())).map_err(|error| error.to_string())
}

fn main() {
    let kept = Arc::new(Kept::default());
    let builder = |stoppable| {
        let mut limits = Limits::default();
        limits.max_body_size = MAX_BODY_SIZE;
        Server::builder().add(FeatureServer::new(Features { kept: kept.clone(), stoppable })).limits(limits)
    };
    let plain = builder(None).limit_method("features.FeatureService.Limited", Constant::new(1));
    let servers: Vec<_> = [
        ("plain", plain),
        ("auth", builder(None).auth(Secret)),
        ("limit", builder(None).max_concurrency(1)),
        ("generic", builder(None).baidu_master_service(generic)),
        ("intercept", builder(None).interceptor(intercept)),
    ]
    .into_iter()
    .map(|(name, builder)| (name, builder.start("127.0.0.1:0").expect("a free port")))
    .collect();
    let (stopped, has_stopped) = mpsc::channel();
    let stoppable = Arc::new(Stoppable { server: Mutex::new(None), stopped });
    let start = |address: &str| {
        let server = Arc::new(builder(Some(stoppable.clone())).start(address).expect("a free port"));
        *stoppable.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.clone());
        server
    };
    let mut logoff = start("127.0.0.1:0");
    let address = logoff.local_addr().to_string();
    let ports: Vec<_> =
        servers.iter().map(|(name, server)| format!("{name}={}", server.local_addr())).collect();
    println!("ready {} logoff={address}", ports.join(" "));
    std::thread::spawn(|| {
        // Whoever started this program is gone when there is nothing to be read any more.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    for () in has_stopped {
        logoff.join();
        logoff = start(&address);
    }
}
