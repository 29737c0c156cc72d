#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| farebox::fuzzing::unpaid_head(data));
