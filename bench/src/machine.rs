//! Where the figures come from.

use serde_json::{Value, json};

/// A sentence about the machine and how busy it was.
#[derive(Debug, Clone)]
pub struct Machine {
    pub cpus: usize,
    pub model: String,
    pub kernel: String,
    pub memory_gib: f64,
    /// Of the last minute, before the run.
    pub load: String,
}

impl Machine {
    pub fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            line.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: f64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        Self {
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            model: field(&read("/proc/cpuinfo"), "model name"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_gib: kib / 1024.0 / 1024.0,
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    pub fn sentence(&self) -> String {
        let Self { cpus, model, kernel, memory_gib, load } = self;
        format!("{cpus} CPUs ({model}), {memory_gib:.0} GiB of memory, Linux {kernel}, load {load} before the run")
    }

    pub fn json(&self) -> Value {
        json!({
            "cpus": self.cpus,
            "model": self.model,
            "kernel": self.kernel,
            "memory_gib": self.memory_gib,
            "load_before": self.load,
        })
    }
}
