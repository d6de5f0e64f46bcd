//! What every process tells about itself and its machine, under brpc's names.
//!
//! Source: `spec/bvar.md` §14 and `spec/builtin-services.md` §15.1. Three differences: `process_cmdline` and
//! `kernel_version` are one line, without the line feed at their end; `rustc_version` stands where brpc has
//! `gcc_version`; `process_fd_count` keeps its name however many files are open, and counts to 10,000.

mod proc;

use crate::dump::DUMP_INTERVAL;
use crate::flag::FlagVariable;
use crate::variable::{DisplayFilter, Kind, Trend, Value, Variable};
use crate::window::PerSecond;
use crate::{PassiveStatus, Status, multi, registry, sampler};
use nix::unistd;
use proc::{IO, LOAD, MEMORY, OPEN_FILES, RESOURCES, STAT};
use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Exposes them, once and for the life of the process. A name that another variable has is left to it.
///
/// What changes is read when somebody asks, from `/proc` and the kernel, at most every 100 ms. Rates and CPU use
/// are over the window of `bvar_dump_interval` seconds.
///
/// *Blocking:* the thread, while a few files of `/proc` and the user's name are read, the first time; else no.
pub fn expose() {
    static EXPOSED: OnceLock<Vec<Box<dyn Any + Send + Sync>>> = OnceLock::new();
    EXPOSED.get_or_init(|| {
        let mut shelf = Shelf(Vec::new());
        shelf.identity();
        shelf.processor();
        shelf.memory();
        shelf.input_output();
        shelf.machine();
        shelf.own();
        shelf.0
    });
}

/// Keeps what is exposed.
struct Shelf(Vec<Box<dyn Any + Send + Sync>>);

impl Shelf {
    fn put<V: Variable + 'static>(&mut self, name: &str, variable: V) {
        if let Ok(exposed) = registry::expose(name, Arc::new(variable)) {
            self.0.push(Box::new(exposed));
        }
    }

    fn text(&mut self, name: &str, text: impl Into<String>) {
        self.put(name, Status::new(text.into()));
    }

    fn gauge<T: Into<Value> + Send + 'static>(&mut self, name: &str, read: fn() -> T)
    where
        PassiveStatus<T>: Variable,
    {
        self.put(name, PassiveStatus::new(read));
    }

    fn rate(&mut self, name: &str, read: fn() -> u64) {
        self.put(name, PerSecond::new(Arc::new(PassiveStatus::counter(read)), 0));
    }

    /// Seconds of the CPU for each second: cores in use.
    fn cores(&mut self, name: &str, seconds: fn() -> f64) {
        self.put(name, Decimals(PerSecond::new(Arc::new(PassiveStatus::counter(seconds)), 0), 3));
    }

    fn identity(&mut self) {
        self.gauge("pid", || i64::from(std::process::id()));
        self.gauge("ppid", || i64::from(unistd::getppid().as_raw()));
        self.gauge("pgrp", || i64::from(unistd::getpgrp().as_raw()));
        let user = unistd::User::from_uid(unistd::geteuid());
        self.text(
            "process_username",
            match user {
                Ok(Some(user)) => user.name,
                Ok(None) => format!("unknown ({})", unistd::geteuid()),
                Err(error) => format!("unknown ({})", error.desc()),
            },
        );
        self.text("process_cmdline", proc::command_line());
        let folder =
            || std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default();
        self.gauge("process_work_dir", folder);
        let (now, age) = (Instant::now(), proc::age());
        let uptime = PassiveStatus::new(move || (age + now.elapsed()).as_secs_f64());
        self.put("process_uptime", Decimals(uptime, 6));
        self.gauge("process_priority", || STAT.get().priority);
        self.gauge("process_nice", || STAT.get().nice);
        self.gauge("process_thread_count", || STAT.get().threads);
        self.gauge("process_fd_count", || OPEN_FILES.get());
    }

    fn processor(&mut self) {
        let sampler = PerSecond::new(Arc::new(PassiveStatus::counter(sampler::busy_seconds)), 0);
        self.put("bvar_sampler_collector_usage", Decimals(sampler, 6));
        self.cores("process_cpu_usage", || RESOURCES.get().user_seconds + RESOURCES.get().system_seconds);
        self.cores("process_cpu_usage_user", || RESOURCES.get().user_seconds);
        self.cores("process_cpu_usage_system", || RESOURCES.get().system_seconds);
        self.rate("process_context_switches_voluntary_second", || RESOURCES.get().voluntary_switches);
        self.rate("process_context_switches_involuntary_second", || RESOURCES.get().involuntary_switches);
    }

    fn memory(&mut self) {
        self.rate("process_faults_minor_second", || STAT.get().minor_faults);
        self.put("process_faults_major", PassiveStatus::counter(|| STAT.get().major_faults));
        self.gauge("process_memory_virtual", || MEMORY.get().total);
        self.gauge("process_memory_resident", || MEMORY.get().resident);
        self.gauge("process_memory_shared", || MEMORY.get().shared);
        self.gauge("process_memory_text", || MEMORY.get().text);
        self.gauge("process_memory_data_and_stack", || MEMORY.get().data_and_stack);
    }

    fn input_output(&mut self) {
        self.rate("process_inblocks_second", || RESOURCES.get().blocks_in);
        self.rate("process_outblocks_second", || RESOURCES.get().blocks_out);
        self.rate("process_io_read_bytes_second", || IO.get().read_bytes);
        self.rate("process_io_write_bytes_second", || IO.get().written_bytes);
        self.rate("process_io_read_second", || IO.get().reads);
        self.rate("process_io_write_second", || IO.get().writes);
        self.rate("process_disk_read_bytes_second", || IO.get().disk_read_bytes);
        self.rate("process_disk_write_bytes_second", || IO.get().disk_written_bytes);
    }

    fn machine(&mut self) {
        self.put("system_loadavg_1m", Decimals(PassiveStatus::new(|| LOAD.get()[0]), 3));
        self.put("system_loadavg_5m", Decimals(PassiveStatus::new(|| LOAD.get()[1]), 3));
        self.put("system_loadavg_15m", Decimals(PassiveStatus::new(|| LOAD.get()[2]), 3));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.put("system_core_count", Status::new(cores));
        if let Ok(kernel) = nix::sys::utsname::uname() {
            let parts =
                [kernel.sysname(), kernel.nodename(), kernel.release(), kernel.version(), kernel.machine()];
            self.text("kernel_version", parts.map(|part| part.to_string_lossy().into_owned()).join(" "));
        }
        self.text("rustc_version", env!("BVAR_RUSTC_VERSION"));
    }

    fn own(&mut self) {
        self.put("bvar_dump_interval", FlagVariable::new(&DUMP_INTERVAL));
        self.put("bvar_multi_dimension_evicted_count", PassiveStatus::new(multi::evicted));
    }
}

/// A number described with a fixed number of decimals.
struct Decimals<V>(V, usize);

impl<V: Variable> Variable for Decimals<V> {
    fn value(&self) -> Value {
        let scale = 10f64.powi(self.1 as i32);
        self.0
            .value()
            .as_f64()
            .map_or(Value::Float(0.0), |number| Value::Float((number * scale).round() / scale))
    }

    fn describe(&self, out: &mut dyn fmt::Write, _quotes: bool) -> fmt::Result {
        write!(out, "{:.*}", self.1, self.0.value().as_f64().unwrap_or(0.0))
    }

    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn display(&self) -> DisplayFilter {
        self.0.display()
    }

    fn trend(&self) -> Trend {
        self.0.trend()
    }

    fn trend_value(&self) -> Value {
        self.0.trend_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_and_exposing_twice_does_no_harm() {
        expose();
        expose();
        let numbers = [
            "pid",
            "ppid",
            "pgrp",
            "process_uptime",
            "process_priority",
            "process_nice",
            "process_thread_count",
            "process_fd_count",
            "process_faults_minor_second",
            "process_faults_major",
            "process_memory_virtual",
            "process_memory_resident",
            "process_memory_shared",
            "process_memory_text",
            "process_memory_data_and_stack",
            "process_cpu_usage",
            "process_cpu_usage_user",
            "process_cpu_usage_system",
            "process_context_switches_voluntary_second",
            "process_context_switches_involuntary_second",
            "process_inblocks_second",
            "process_outblocks_second",
            "process_io_read_bytes_second",
            "process_io_write_bytes_second",
            "process_io_read_second",
            "process_io_write_second",
            "process_disk_read_bytes_second",
            "process_disk_write_bytes_second",
            "system_loadavg_1m",
            "system_loadavg_5m",
            "system_loadavg_15m",
            "system_core_count",
            "bvar_dump_interval",
            "bvar_multi_dimension_evicted_count",
        ];
        for name in numbers {
            let value = registry::find(name).unwrap_or_else(|| panic!("no {name}")).value();
            assert!(value.is_number(), "{name}: {value}");
        }
        for name in
            ["process_username", "process_cmdline", "process_work_dir", "kernel_version", "rustc_version"]
        {
            let text = registry::describe(name).unwrap_or_else(|| panic!("no {name}"));
            assert!(!text.is_empty() && !text.contains('\n'), "{name}: {text:?}");
        }
        assert_eq!(registry::describe("pid"), Some(std::process::id().to_string()));
        assert!(registry::describe("rustc_version").unwrap().starts_with("rustc "));
        let decimals = |name| registry::describe(name).unwrap().split_once('.').unwrap().1.len();
        let lengths = ["process_uptime", "process_cpu_usage", "system_loadavg_1m"].map(decimals);
        assert_eq!(lengths, [6, 3, 3]);
    }
}
