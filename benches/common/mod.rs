//! What every bench reports with: medians with their spread, and the machine that they belong to.

/// Several measurements of one thing.
pub struct Spread {
    /// The least of them.
    pub lowest: f64,
    /// Half of them are below it.
    pub median: f64,
    /// The greatest of them.
    pub highest: f64,
}

impl Spread {
    /// Not a number where there are none.
    pub fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Spread { lowest: at(0), median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), highest: at(last) }
    }

    /// The median, and the others in brackets.
    pub fn with_digits(&self, digits: usize) -> String {
        let Spread { lowest, median, highest } = self;
        format!("{median:.digits$} ({lowest:.digits$}–{highest:.digits$})")
    }
}

/// What the numbers belong to.
pub fn processor() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    format!("{} with {cores} cores", model.unwrap_or("a processor"))
}
