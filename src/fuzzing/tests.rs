//! The committed seeds of every target, and random edits of them: what CI runs of `fuzz/`.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};

use super::*;

/// Inputs for each target.
const EDITED: u32 = 2000;
/// Seeds are replayed by everybody: they stay small.
const SEED_BYTES_MAX: usize = 8 * 1024;

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// One change of an input.
#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

fn an_edit() -> impl Strategy<Value = Edit> {
    let telling = prop::sample::select(b"%/\\.;?&={}[]\",:'\0\n\x7f\xff0a".to_vec());
    let byte = prop_oneof![telling, any::<u8>()];
    prop_oneof![
        4 => (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        4 => (any::<Index>(), prop::collection::vec(byte, 1..6)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (any::<Index>(), 1..8_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        2 => (any::<Index>(), 1..64_usize).prop_map(|(at, count)| Edit::Repeat(at, count)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

fn edited(mut input: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        if input.is_empty() {
            input.push(b' ');
        }
        match edit {
            Edit::Set(at, byte) => *at.get_mut(&mut input) = *byte,
            Edit::Insert(at, bytes) => drop(input.splice(at.index(input.len())..at.index(input.len()), bytes.clone())),
            Edit::Remove(at, count) => {
                let at = at.index(input.len());
                drop(input.drain(at..input.len().min(at + count)));
            }
            Edit::Repeat(at, count) => {
                let at = at.index(input.len());
                let again = input[at..input.len().min(at + count)].to_vec();
                input.splice(at..at, again);
            }
            Edit::Cut(at) => input.truncate(at.index(input.len())),
        }
    }
    input
}

#[test]
fn every_target_holds_for_its_seeds() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() >= 5, "{name} has {} seeds", seeds.len());
        for (file, seed) in seeds {
            assert!(seed.len() <= SEED_BYTES_MAX, "{} is too large", file.display());
            if std::panic::catch_unwind(|| target(&seed)).is_err() {
                panic!("{name} does not hold for {}", file.display());
            }
        }
    }
}

#[test]
fn every_target_holds_for_edits_of_its_seeds_and_for_any_bytes() {
    for (name, target) in TARGETS {
        let seeds: Vec<Vec<u8>> = seeds(name).into_iter().map(|(_, seed)| seed).collect();
        let from_seed = (prop::sample::select(seeds), prop::collection::vec(an_edit(), 1..6))
            .prop_map(|(seed, edits)| edited(seed, &edits));
        let inputs = prop_oneof![4 => from_seed, 1 => prop::collection::vec(any::<u8>(), 0..256)];
        let mut runner =
            TestRunner::new(ProptestConfig { failure_persistence: None, cases: EDITED, ..Default::default() });
        let found = runner
            .run(&inputs, |input| std::panic::catch_unwind(|| target(&input)).map_err(|_| TestCaseError::fail(name)));
        found.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// `fuzz/` builds one program for each target, and each calls its own.
#[test]
fn every_target_is_fuzzed() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
        let program = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("farebox::fuzzing::{name}(data)")), "{name}.rs calls another target");
    }
    assert_eq!(fs::read_dir(folder.join("fuzz_targets")).unwrap().count(), TARGETS.len());
    assert_eq!(fs::read_dir(folder.join("seeds")).unwrap().count(), TARGETS.len());
}
