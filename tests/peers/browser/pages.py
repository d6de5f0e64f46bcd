"""What each page shows to a browser, and where the suite finds it (CSS selectors of rpc/src/builtin)."""

# path: heading, what the text holds. A page without a heading is plain text in a browser, too.
HTML_PAGES = {
    "/": ("status", ["example.EchoService", "Echo (EchoRequest) returns (EchoResponse)", "connection_count"]),
    "/index?as_more": ("", ["/sockets", "/bthreads", "/protobufs", "/security"]),
    "/status": ("status", ["version", "non_service_error", "qps", "latency", "max_latency", "concurrency"]),
    "/vars": ("vars", ["process_uptime", "process_memory_resident", "rpc_socket_count", "bthread_worker_count"]),
    "/flags": ("flags", ["Name", "Value", "Description", "Defined At", "max_shown_connections", "(R)"]),
    "/connections": ("connections", ["server_connection_count", "RemoteSide", "Protocol", "SocketId", "http"]),
    "/rpcz": ("rpcz", ["example.EchoService"]),
    "/bthreads": ("bthreads", []),
    "/fibers": ("fibers", []),
    "/blocked": ("blocked", []),
    "/ids": ("ids", []),
    "/sockets": ("sockets", []),
    "/threads": ("threads", ["Thread "]),
    "/dir": ("dir", ["browser"]),
    "/bthreads/all?st=1": ("bthreads", ["rpc_watch"]),
    "/fibers?group=stack": ("fibers by stack", []),
    "/hotspots/history": ("cpu, the last hour", []),
    "/rpcz/stats": ("rpcz", ["spans"]),
    "/memory": ("memory", []),
    "/vlog": ("vlog", []),
    "/hotspots/cpu": ("cpu", []),
    "/hotspots/heap": ("heap", []),
    "/hotspots/growth": ("growth", []),
    "/hotspots/contention": ("contention", []),
    "/hotspots/offcpu": ("offcpu", []),
    "/security": ("security", []),
    "/protobufs": ("protobufs", ["example.EchoRequest", "example.EchoService"]),
}

# path: what the text holds. Plain text or JSON.
TEXT_PAGES = {
    "/list": ['"EchoService"', '"Echo"'],
    "/health": ["OK"],
    "/version": [""],
    "/metrics": ["# TYPE process_memory_resident gauge"],
    "/brpc_metrics": ["# TYPE process_memory_resident gauge"],
}

# What the page with all others links to and is opened by other tests or has its entry above.
ALL_PAGES = {path.split("?")[0] for path in (*HTML_PAGES, *TEXT_PAGES)}

# The tabs of every page.
TABS = ["status", "vars", "connections", "flags", "rpcz", "fibers", "blocked", "cpu", "heap", "contention", "more"]

HEADING = "main h1"
TAB = "header nav a"
CURRENT_TAB = "header nav a[aria-current=page]"
# A variable that opens to a chart.
VARIABLE = "details.var"
VARIABLES = "#vars .var"
VARIABLES_SEARCH = "input[data-live=vars]"
FLAGS_FILTER = "input[data-filter=flags]"
FLAG_ROWS = "#flags tbody tr"
FLAG_VALUE = "form.card input[name=setvalue]"
FLAG_SUBMIT = "form.card button"
RPCZ_ENABLE = "form[action='/rpcz/enable'] button"
RPCZ_TRACE = "main a[href*='trace=']"
RPCZ_BAR = "main svg, main .bar"
RPCZ_SEARCH = "main form input[name=min_latency]"
RPCZ_SUBMIT = "main form[role=search] button"
FLAME = "main .flame"
FLAME_FRAME = "main [data-frame]"
