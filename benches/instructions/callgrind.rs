//! Pieces under valgrind: a process for each set, of which only the calls themselves are counted.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, thread};

use super::Failure;
use super::pieces::{self, Piece, Set};

/// Calls that are not counted: what is made once is made, memory is touched.
const WARM_UP: usize = 20;

/// Calls that are counted: an allocator looks for a new page in some of them only.
const CALLS: usize = 200;

/// What valgrind counts, as it reads the name.
const COUNTED: &str = concat!(module_path!(), "::under_callgrind");

/// The role's arguments.
#[derive(clap::Args)]
pub struct Args {
    /// What they have in common.
    #[arg(value_enum)]
    set: Set,
    /// Their names, in the order in which they are called.
    pieces: Vec<String>,
}

/// Instructions per call of each piece with that in its name; as many sets at once as there are cores.
pub fn count(text: &str) -> Result<Vec<(String, u64)>, Failure> {
    let folder = tempfile::Builder::new().prefix("farebox-bench-").tempdir()?;
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let mut counted = Vec::new();
    for now in Set::ALL.chunks(cores) {
        thread::scope(|scope| {
            let workers: Vec<_> =
                now.iter().map(|set| scope.spawn(|| under_valgrind(*set, text, folder.path()))).collect();
            workers.into_iter().try_for_each(|worker| {
                counted.extend(worker.join().unwrap_or_else(|_| Err("a worker panicked".into()))?);
                Ok::<_, Failure>(())
            })
        })?;
    }
    Ok(counted)
}

fn under_valgrind(set: Set, text: &str, folder: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let names: Vec<_> = pieces::names(set).into_iter().filter(|name| name.contains(text)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let output = folder.join(format!("{set:?}"));
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(env::current_exe()?)
        .args(["count", set.name()])
        .args(&names)
        .stdin(Stdio::null());
    let ran = command.output().map_err(|error| format!("valgrind: {error}"))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        return Err(format!("{}: {}: {said}", set.name(), ran.status).into());
    }
    let count = |(number, name): (usize, String)| {
        // One file for each piece, numbered from 1.
        let profile = fs::read_to_string(output.with_extension((number + 1).to_string())).unwrap_or_default();
        let total = profile.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok());
        match total {
            Some(total) if total > 0 => Ok((name, total / u64::try_from(CALLS)?)),
            _ => Err(format!("{name}: valgrind has counted nothing in {COUNTED}").into()),
        }
    };
    names.into_iter().enumerate().map(count).collect()
}

/// Sets pieces up, calls one after the other, and ends.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut set = pieces::set_up(args.set, WARM_UP + CALLS)?;
    for name in &args.pieces {
        let (_, piece) = set.iter_mut().find(|(known, _)| known == name).ok_or("no piece has that name")?;
        let warm = (0..WARM_UP).all(|_| piece());
        if !(warm && under_callgrind(piece)) {
            return Err(format!("{name}: it did not answer as it should").into());
        }
    }
    Ok(())
}

/// Valgrind counts from here to the end of it, and writes down what it has counted.
#[inline(never)]
fn under_callgrind(piece: &mut Piece) -> bool {
    let mut good = true;
    for _ in 0..CALLS {
        good &= piece();
    }
    good
}
