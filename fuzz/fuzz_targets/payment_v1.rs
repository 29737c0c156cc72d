#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| farebox::fuzzing::payment_v1(data));
