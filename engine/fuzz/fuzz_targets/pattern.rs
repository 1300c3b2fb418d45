//! No pattern and no text stops the engine.
//!
//! ```sh
//! cd engine && cargo +nightly fuzz run pattern -- -max_total_time=120
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use portolan_engine::Pattern;

fuzz_target!(|data: &[u8]| {
    let (pattern, text) = data.split_at(data.iter().position(|&byte| byte == 0).unwrap_or(data.len()));
    if let Ok(pattern) = str::from_utf8(pattern)
        && let Ok(pattern) = Pattern::new(pattern)
    {
        pattern.matches(text.get(1..).unwrap_or_default());
    }
});
