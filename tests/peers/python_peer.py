"""A baidu_std peer on Google's own protobuf for Python, written from the wire format alone.

    python_peer.py ECHO_SERVER ECHO_CLIENT

calls the one (started here) and serves the other. Exits with 1 and a reason on any difference.
"""

import os
import socket
import struct
import subprocess
import sys
import threading

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

STUCK_SECONDS = 60
TYPES = descriptor_pb2.FieldDescriptorProto


def messages():
    """The messages of the wire format and of examples/proto/echo.proto, made from their field tables."""
    file = descriptor_pb2.FileDescriptorProto(name="peer.proto", package="peer", syntax="proto2")

    def message(name, *fields):
        entry = file.message_type.add(name=name)
        for number, field, kind, required in fields:
            added = entry.field.add(name=field, number=number)
            added.label = TYPES.LABEL_REQUIRED if required else TYPES.LABEL_OPTIONAL
            if isinstance(kind, str):
                added.type, added.type_name = TYPES.TYPE_MESSAGE, ".peer." + kind
            else:
                added.type = kind

    message(
        "Request",
        (1, "service_name", TYPES.TYPE_STRING, True),
        (2, "method_name", TYPES.TYPE_STRING, True),
        (3, "log_id", TYPES.TYPE_INT64, False),
        (8, "timeout_ms", TYPES.TYPE_INT32, False),
    )
    message("Response", (1, "error_code", TYPES.TYPE_INT32, False), (2, "error_text", TYPES.TYPE_STRING, False))
    message(
        "Meta",
        (1, "request", "Request", False),
        (2, "response", "Response", False),
        (3, "compress_type", TYPES.TYPE_INT32, False),
        (4, "correlation_id", TYPES.TYPE_INT64, False),
        (5, "attachment_size", TYPES.TYPE_INT32, False),
    )
    message("EchoRequest", (1, "message", TYPES.TYPE_STRING, True), (2, "sleep_us", TYPES.TYPE_INT32, False))
    message("EchoResponse", (1, "message", TYPES.TYPE_STRING, True))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("Meta", "EchoRequest", "EchoResponse")
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName("peer." + name)) for name in names]


Meta, EchoRequest, EchoResponse = messages()


def read_exactly(stream, size):
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


def read_frame(stream):
    magic, body_size, meta_size = struct.unpack(">4sII", read_exactly(stream, 12))
    assert magic == b"PRPC", magic
    meta = Meta.FromString(read_exactly(stream, meta_size))
    body = read_exactly(stream, body_size - meta_size - meta.attachment_size)
    return meta, body, read_exactly(stream, meta.attachment_size)


def frame(meta, body=b"", attachment=b""):
    if attachment:
        meta.attachment_size = len(attachment)
    head = meta.SerializeToString()
    size = len(head) + len(body) + len(attachment)
    return struct.pack(">4sII", b"PRPC", size, len(head)) + head + body + attachment


def request(number, service="example.EchoService", method="Echo", body=None, attachment=b""):
    meta = Meta(correlation_id=number)
    meta.request.service_name, meta.request.method_name = service, method
    if body is None:
        body = EchoRequest(message="message %d" % number).SerializeToString()
    return frame(meta, body, attachment)


def call_server(address):
    """Everything an honest client does, many requests at once; then three that fail."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), STUCK_SECONDS) as connection:
        stream = connection.makefile("rb")
        attachments = {n: os.urandom((n % 7) * 3001) for n in range(1, 301)}
        requests = b"".join(request(n, attachment=a) for n, a in attachments.items())
        writer = threading.Thread(target=connection.sendall, args=(requests,))
        writer.start()
        for _ in range(300):
            meta, body, attachment = read_frame(stream)
            assert meta.response.error_code == 0, meta
            assert EchoResponse.FromString(body).message == "message %d" % meta.correlation_id
            assert attachments.pop(meta.correlation_id) == attachment
        writer.join()
        assert not attachments
        for wrong, code in [
            (request(1, service="NoSuchService"), 1001),
            (request(2, method="NoSuchMethod"), 1002),
            (request(3, body=EchoRequest(message="x").SerializeToString()[:-1]), 1003),
            (request(4, body=b"\x10\x05"), 1003),  # the required field is missing
        ]:
            connection.sendall(wrong)
            meta, body, _ = read_frame(stream)
            assert meta.response.error_code == code and not body, meta
            assert meta.response.error_text.startswith("[%s][E%d]" % (address, code)), meta
    print("client in Python: 304 calls as expected")


def serve_client(listener, served):
    connection, _ = listener.accept()
    with connection:
        stream = connection.makefile("rb")
        try:
            while True:
                meta, body, attachment = read_frame(stream)
                assert meta.request.service_name == "example.EchoService", meta
                answer = Meta(correlation_id=meta.correlation_id)
                answer.response.error_code = 0
                reply = EchoResponse(message=EchoRequest.FromString(body).message).SerializeToString()
                connection.sendall(frame(answer, reply, attachment))
                served.append(1)
        except (EOFError, ConnectionError):
            pass


def main(echo_server, echo_client):
    server = subprocess.Popen([echo_server, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        call_server(server.stdout.readline().removeprefix("listening on ").strip())
    finally:
        server.terminate()
        assert server.wait(STUCK_SECONDS) == 0, "echo_server must leave with 0"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = []
        thread = threading.Thread(target=serve_client, args=(listener, served))
        thread.start()
        command = [echo_client, "--server", "127.0.0.1:%d" % listener.getsockname()[1]]
        command += ["--fibers", "8", "--size", "100", "--attach", "5000", "--secs", "2"]
        line = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=STUCK_SECONDS, check=True).stdout
        thread.join(STUCK_SECONDS)
        assert line.startswith("qps=") and line.strip().endswith("errors=0"), line
        assert served, "nothing was served"
        print("server in Python: %d calls, %s" % (len(served), line.strip()))


main(*sys.argv[1:])
