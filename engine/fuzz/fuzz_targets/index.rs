//! The index chooses what a walk over all routes chooses.
//!
//! ```sh
//! cargo install cargo-fuzz
//! cd engine && cargo +nightly fuzz run index -- -max_total_time=120
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use portolan_engine::index_agrees_with_oracle;

fuzz_target!(|data: &[u8]| {
    index_agrees_with_oracle(data);
});
