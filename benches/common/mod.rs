//! What every bench reports with: medians with their spread, and the machine that they belong to.

/// Several measurements of one thing.
pub struct Spread {
    /// The least of them.
    pub lowest: f64,
    /// Half of them are below it.
    pub median: f64,
    /// The greatest of them.
    pub highest: f64,
    confidence: Option<(f64, f64)>,
}

impl Spread {
    /// Not a number where there are none.
    pub fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Spread {
            lowest: at(0),
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            highest: at(last),
            confidence: confidence_interval(&values),
        }
    }

    /// The median, and the others in brackets.
    pub fn with_digits(&self, digits: usize) -> String {
        let Spread { lowest, median, highest, .. } = self;
        format!("{median:.digits$} ({lowest:.digits$}–{highest:.digits$})")
    }

    /// Between which two of them the median of ever so many would lie in 95 of 100 runs, however they are distributed.
    pub fn confidence(&self, digits: usize) -> String {
        match self.confidence {
            Some((least, most)) => format!("{least:.digits$}–{most:.digits$}"),
            None => "unknown".to_owned(),
        }
    }
}

/// Of the median of what these, the least first, are a sample of: its confidence interval of 95 %. `None` where they are too few.
fn confidence_interval(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len();
    // Each value is below the median or above it, as a coin falls: how likely so few are below it, for more and more of them.
    let (mut exactly, mut at_most, mut outside) = (0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX)), 0.0, 0);
    while at_most + exactly <= 0.025 && outside < count / 2 {
        at_most += exactly;
        exactly *= (count - outside) as f64 / (outside + 1) as f64;
        outside += 1;
    }
    let least = values.get(outside.checked_sub(1)?)?;
    Some((*least, *values.get(count.checked_sub(outside)?)?))
}

/// What the numbers belong to.
pub fn processor() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    format!("{} with {cores} cores", model.unwrap_or("a processor"))
}
