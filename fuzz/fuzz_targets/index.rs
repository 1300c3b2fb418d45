//! See `portolan_fuzz::index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portolan_fuzz::index::run(data));
