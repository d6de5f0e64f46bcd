"""Names of brpc that a Rust runtime has no use for, and why. Patterns of fnmatch; one that no name of the samples
matches, or whose names are all there, fails the suite."""

# Variables and metrics alike.
COUNTED = {
    "demo_*": "variables of the sample's own program",
    "bthread_count_0": "bthreads are counted for the process: they are of no runtime",
    "bthread_keytable_memory": "tables of keys grow with what is kept in them, which nobody adds up",
    "bthread_timer_usage": "workers look after timers; there is no thread that does",
    "event_dispatcher_*": "workers poll; there is nobody who dispatches events",
    "rpc_event_thread_second": "workers poll; events start no threads",
    "rpc_waitepollout_*": "nobody waits with a poll of its own: who writes parks on its socket",
    "rpc_keepwrite_second": "writers take turns on a socket; no bthread is started to go on with writing",
    "rpc_controller_count": "calls are values of their callers; of those that run there is NAME_concurrency",
    # Parts of brpc that are not built yet: each line goes when its part comes.
}

VARIABLES = COUNTED | {
    "gcc_version": "no C++ compiler built the program",
    # Parts of brpc that are not built yet: each line goes when its part comes.
    "rpc_load_balancer": "load balancers",
    "rpc_naming_service": "naming services",
}

METRICS = COUNTED

# Samples of one method.
SAMPLES = {
    '*{quantile="avg"}': "not a number: Prometheus refuses the whole text",
}

# Lines of /sockets/ID.
SOCKET = {
    "shared_part": "counts are of one socket; its lines stand on the upper level",
    "nref": "who holds a socket is not counted for pages",
    "nevent": "read bthreads do not count what woke them",
    "on_et_events": "a socket has one reader, which is no function pointer",
    "user": "the owner is `role'",
    "tos": "not set",
    "reset_fd_to_now": "a socket has one descriptor for its life",
    "bthread_tag": "a socket belongs to no runtime",
    "avg_input_msg_size": "in_size by in_num_messages",
    "last_write_to_now": "writes note no time",
    "id_wait_list": "calls wait in their channel",
    "parsing_context": "protocols keep their own state",
    "pipeline_q": "answers keep the order of requests without a queue",
    "ninprocess": "concurrency is counted by method",
    "is_wirte_shutdown": "connected, and peer_closed",
    "write_head": "`unwritten' in bytes",
    "agent_socket_id": "a pooled connection belongs to one channel",
    "cid": "calls are numbered by channel",
    "keepalive": "not set: slow and idle peers are told by time",
    "tcp_keepalive_*": "not set: slow and idle peers are told by time",
    "tcp_user_timeout": "not set: slow and idle peers are told by time",
    "_additional_ref_status": "who holds a socket is not counted for pages",
    "logoff_flag": "a server that stops is asked, not each socket",
    "rdma": "RDMA",
    # Parts of brpc that are not built yet: each line goes when its part comes.
    "auth_*": "authentication",
    "hc_*": "health checks",
    "is_hc_related_ref_held": "health checks",
    "ninflight_app_health_check": "health checks",
    "total_streams_buffer_size": "streaming RPC",
}

# What brpc takes while it runs, and this only when it starts.
RELOADABLE = {
    "*bvar_dump_file": "no page chooses where files are written",
    "bthread_concurrency": "a runtime has its workers from its start",
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
    "log_connected": "logging belongs to the program here",
    "log_connection_close": "logging belongs to the program here",
    "log_error_text": "logging belongs to the program here",
    "log_idle_*": "logging belongs to the program here",
    "http_verbose*": "logging belongs to the program here",
    "minloglevel": "logging belongs to the program here",
    "v": "logging belongs to the program here",
    "vmodule": "logging belongs to the program here",
    # Another runtime.
    "bthread_min_concurrency": "a runtime has its workers from its start",
    "bthread_concurrency_by_tag": "runtimes are built by the program, each with its workers",
    "bthread_current_tag": "runtimes are built by the program, each with its workers",
    "task_group_ntags": "runtimes are built by the program, each with its workers",
    "cpu_set": "given to a runtime's builder",
    "stack_size_*": "given to a runtime's builder",
    "tc_stack_*": "given to a runtime's builder",
    "guard_page_size": "every stack has a guard page",
    "bthread_enable_cpu_clock_stat": "the processor time of a bthread is not its own business: see /hotspots/cpu",
    "bthread_parking_lot_of_each_tag": "each worker sleeps on its own",
    "parking_lot_no_signal_when_no_waiter": "each worker sleeps on its own, and is woken only then",
    "enable_bthread_priority_queue": "bthreads have no priorities",
    "task_group_delete_delay": "workers live as long as their runtime",
    "task_group_runqueue_capacity": "queues grow",
    "task_group_set_worker_name": "workers always have names",
    "brpc_timer_*": "workers look after timers; there is no thread that does",
    "borrow_from_globle_size": "tables of keys are not pooled",
    "key_table_list_size": "tables of keys are not pooled",
    "usercode_*": "handlers run in bthreads; what blocks threads goes to bthread::blocking",
    "max_pending_in_each_backup_thread": "handlers run in bthreads; what blocks threads goes to bthread::blocking",
    "iobuf_aligned_buf_block_size": "blocks have one size and alignment",
    "free_memory_to_system_interval": "the allocator is the program's",
    # bvar.
    "bvar_abort_on_same_name": "a name that is taken is an error for who exposes the second",
    "bvar_collector_*": "given to each collector by who makes it",
    "bvar_sampler_thread_start_delay_us": "starts when first needed",
    "latency_scale_factor": "a latency recorder has a unit",
    "quote_vector": "always quoted",
    # Sockets.
    "show_socketmap_in_vars": "a channel owns its connections",
    # Protocols and pages.
    "allow_chunked_length": "given to the protocol: http::Http",
    "allow_http_1_1_request_without_host": "given to the protocol: http::Http",
    "http_body_compress_threshold": "a constant: as large as brpc's default",
    "http_max_error_length": "a constant: as large as brpc's default",
    "http_header_of_user_ip": "a handler reads the headers itself",
    "request_id_header": "a constant: brpc's default",
    "pb_enum_as_number": "given with a service: JsonOptions",
    "json2pb_max_recursion_depth": "depth costs no stack",
    "max_profiles_kept": "a constant: as large as brpc's default",
    "rpc_profiling_dir": "profiles are kept in memory",
    "rpcz_database_dir": "spans are kept in memory",
    "rpcz_keep_span_db": "spans are kept in memory",
    "show_hostname_instead_of_ip": "no page asks name servers",
    # Parts of brpc that are not built yet: each line goes when its part comes.
    "health_check_*": "health checks",
    "channel_check_interval": "combined channels",
    "detect_available_server_interval_ms": "load balancers",
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
    "circuit_breaker_*": "circuit breaker",
    "ssl_*": "TLS",
    "rpc_dump*": "dump and replay",
    "mcpack2pb_*": "mcpack",
}

# Lines of /index that need not be there.
INDEX = {}
