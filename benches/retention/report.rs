//! The table: medians over the rounds, lowest and highest in brackets, ratios within a round.

use super::load::Measured;

pub struct Row {
    name: &'static str,
    pub measured: Vec<Measured>,
}

impl Row {
    pub fn new(name: &'static str) -> Row {
        Row { name, measured: Vec::new() }
    }
}

pub fn print(rows: &[Row]) {
    let Some(base) = rows.first() else { return };
    println!("\n| ledger | payments/s | of empty | p50 ms | of empty | p99 ms | of empty |");
    println!("|---|---|---|---|---|---|---|");
    for row in rows {
        let of = |value: fn(&Measured) -> f64| row.measured.iter().map(value).collect::<Vec<f64>>();
        let ratio = |value: fn(&Measured) -> f64| {
            row.measured.iter().zip(&base.measured).map(|(one, base)| value(one) / value(base)).collect::<Vec<f64>>()
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            spread(of(per_second), 0),
            spread(ratio(per_second), 2),
            spread(of(p50), 1),
            spread(ratio(p50), 2),
            spread(of(p99), 1),
            spread(ratio(p99), 2),
        );
    }
}

fn per_second(measured: &Measured) -> f64 {
    measured.per_second
}

fn p50(measured: &Measured) -> f64 {
    measured.p50.as_secs_f64() * 1e3
}

fn p99(measured: &Measured) -> f64 {
    measured.p99.as_secs_f64() * 1e3
}

fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_unstable_by(f64::total_cmp);
    let median = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    let (low, high) = (values.first().copied().unwrap_or(f64::NAN), values.last().copied().unwrap_or(f64::NAN));
    format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
}
