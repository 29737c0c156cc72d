#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| farebox::fuzzing::config_file(data));
