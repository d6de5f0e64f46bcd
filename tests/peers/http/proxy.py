"""nginx as a reverse proxy in front of the server, with connections that it keeps."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

READY_SECONDS = 20
CONFIG = """daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 100m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream server {{
        server {server};
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


class Proxy:
    def __init__(self, server):
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        if not program:
            raise SystemExit("nginx is missing; on Debian: apt-get install nginx")
        self.folder = tempfile.mkdtemp(prefix="bobbin-nginx-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with open(os.path.join(self.folder, "nginx.conf"), "w", encoding="utf-8") as file:
            file.write(CONFIG.format(server=server.address, port=self.port))
        os.chmod(self.folder, 0o755)  # its worker may run as another user
        self.process = subprocess.Popen([program, "-p", self.folder, "-c", "nginx.conf", "-e", "error.log"])

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def errors(self):
        """What it complains about; some bodies are too large for its memory, of which it warns."""
        with open(os.path.join(self.folder, "error.log"), encoding="utf-8") as file:
            return [line for line in file.read().splitlines() if "[error]" in line or "[crit]" in line]
