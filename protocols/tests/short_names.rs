//! Requests that name their service without its package. Alone in its process, as it changes a flag.

mod support;

use iobuf::IoBuf;
use protocols::baidu_std::BAIDU_STD;
use rpc::message::MessageBody;
use rpc::protocol::{ClientSide, OutgoingRequest};
use rpc::{MethodDescriptor, UserFields};
use support::{call, connect, echo_method, request, start};

#[test]
fn services_are_named_without_their_packages_if_the_flag_says_so() {
    let server = start();
    let channel = connect(&server);
    bvar::flag::set("baidu_protocol_use_fullname", "false").unwrap();
    static NONE: MethodDescriptor = MethodDescriptor {
        name: "Echo",
        full_name: "example.NoSuchService.Echo",
        request_type: "example.EchoRequest",
        response_type: "example.EchoResponse",
        schema: &rpc::Schema::NONE,
    };
    for (method, captured) in [
        (echo_method(), &include_bytes!("../src/baidu_std/testdata/short_service_name.req.bin")[..]),
        (&NONE, include_bytes!("../src/baidu_std/testdata/unknown_service_noscope.req.bin")),
    ] {
        let (message, fields) = (request("hello brpc"), UserFields::default());
        let body = MessageBody(&message);
        let mut out = IoBuf::new();
        let request = OutgoingRequest::new(method, 0x1_0000_0002, &body, &fields);
        BAIDU_STD.write_request(request, &mut out).unwrap();
        assert_eq!(out.to_vec(), captured);
    }
    assert_eq!(call(&channel, "by its short name").unwrap(), "by its short name");
}
