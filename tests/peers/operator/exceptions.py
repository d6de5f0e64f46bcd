"""Names of brpc that a Rust runtime has no use for, and why. Patterns of fnmatch; one that no name of the samples
matches, or whose names are all there, fails the suite."""

VARIABLES = {
    "demo_*": "variables of the sample's own program",
    "gcc_version": "no C++ compiler built the program",
    "rpc_server_*_echo_max_concurrency": "of a method: only with a limiter, as in brpc",
}

METRICS = {
    "demo_*": "variables of the sample's own program",
    "rpc_server_*_echo_max_concurrency": "of a method: only with a limiter, as in brpc",
}

# Samples of one method.
SAMPLES = {
    "rpc_server_*_echo_max_concurrency": "only with a limiter, as in brpc",
    '*{quantile="avg"}': "not a number: Prometheus refuses the whole text",
}

FLAGS = {
    # The sample's own program.
    "greeting": "a flag of the sample's own program",
    "limit": "a flag of the sample's own program",
    "port": "a flag of the sample's own program",
    # gflags, the library.
    "flagfile": "gflags: command lines belong to the program here",
    "fromenv": "gflags: command lines belong to the program here",
    "tryfromenv": "gflags: command lines belong to the program here",
    "undefok": "gflags: command lines belong to the program here",
    "tab_completion_*": "gflags: command lines belong to the program here",
    "help*": "gflags: command lines belong to the program here",
    "version": "gflags: command lines belong to the program here",
    # C++ and its libraries.
    "je_prof_*": "switches of jeprof, a program that pages would have to start",
    "max_tc_stats_buf_len": "tcmalloc is not used",
    "max_flame_graph_width": "flame graphs fit the browser's window",
    "run_command_through_clone": "no page starts a process",
    "event_dispatcher_edisp_unsched": "workers poll; there is no bthread that does",
    "event_dispatcher_num": "workers poll; there is no thread that does",
    "usercode_in_coroutine": "C++ coroutines",
    "crash_on_fatal_log": "logging belongs to the program here",
    "escape_log": "logging belongs to the program here",
    "log_as_json": "logging belongs to the program here",
    "log_bid": "logging belongs to the program here",
    "log_func_name": "logging belongs to the program here",
    "log_hostname": "logging belongs to the program here",
    "log_pid": "logging belongs to the program here",
    "log_year": "logging belongs to the program here",
    "async_log*": "logging belongs to the program here",
    "max_async_log_queue_size": "logging belongs to the program here",
    "sleep_to_flush_async_log_s": "logging belongs to the program here",
    "print_stack_on_check": "a panic prints its own stack",
    "trackme_server": "nothing is told to a server of the project",
    # Parts of brpc that are not built yet: each line goes when its part comes.
    "amf_*": "RTMP",
    "rtmp_*": "RTMP",
    "user_defined_data_message": "RTMP",
    "mysql_*": "MySQL",
    "redis_*": "redis",
    "h2_*": "HTTP/2",
    "consul_*": "naming services",
    "discovery_*": "naming services",
    "nacos_*": "naming services",
    "remote_file_*": "naming services",
    "ns_access_interval": "naming services",
    "dns_support_ipv6": "naming services",
    "chash_*": "load balancers",
    "consistent_hashing_*": "load balancers",
    "default_weight_of_wlb": "load balancers",
    "min_weight": "load balancers",
    "p2c_*": "load balancers",
    "punish_*": "load balancers",
    "show_lb_in_vars": "load balancers",
    "auto_cl_*": "concurrency limiters",
    "timeout_cl_*": "concurrency limiters",
    "circuit_breaker_*": "circuit breaker",
    "ssl_*": "TLS",
    "rpc_dump*": "dump and replay",
    "mcpack2pb_*": "mcpack",
}

# Lines of /index that need not be there.
INDEX = {}
