//! `make bench` as short as can be: that it still works, and not what it measures. Without the tables `scale` and
//! `clusters`, whose hundred thousand services take minutes where nothing is optimised.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portolan_e2e::{Scratch, process};
use serde_json::Value;

/// Each table with how many figures it gives.
const TABLES: [(&str, usize, &[&str]); 4] = [
    ("hosts", 3, &["--hosts", "20", "--requests", "500", "--rounds", "2"]),
    ("rules", 23, &["--rounds", "1", "--slice", "5"]),
    ("bodies", 1, &["--quick"]),
    ("latency", 2, &["--quick"]),
];

#[test]
fn every_table_has_its_figures() -> Result<()> {
    let scratch = Scratch::new()?;
    for (table, count, arguments) in TABLES {
        let file = scratch.path().join(format!("{table}.json"));
        let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
        bench.args(["--table", table]).args(arguments).arg("--json").arg(&file);
        let finished = process::run(&mut bench, Duration::from_secs(240))?;
        println!("{finished}");
        // Whether the budgets are met is another matter.
        ensure!(matches!(finished.code(), Some(0 | 1)), "{table}: {finished}");
        let line: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        assert_eq!(line["table"], table, "{line}");
        let figures = line["claims"].as_array().with_context(|| format!("{line}"))?;
        assert_eq!(figures.len(), count, "{line}");
    }
    Ok(())
}
