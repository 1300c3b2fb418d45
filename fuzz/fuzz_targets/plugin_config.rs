//! See `portolan_fuzz::plugin_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portolan_fuzz::plugin_config::run(data));
