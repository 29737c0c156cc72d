//! Every way in which a file changes, on a real file system. Looks without an event are an hour apart here, so that
//! what arrives has been seen and not found by chance.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::timeout;

use super::*;

const EVENTS_ONLY: Pace = Pace {
    quiet: Duration::from_millis(5),
    quiet_max: Duration::from_millis(100),
    anyway: Duration::from_secs(3600),
    unwatched: Duration::from_secs(3600),
};

/// A folder with a config file that says "one".
struct Place {
    folder: TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        fs::write(&file, "one").unwrap();
        Place { folder, file }
    }

    /// As Kubernetes mounts a ConfigMap.
    fn config_map() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { file: folder.path().join("gateway.toml"), folder };
        place.make_dated("..2026_1", "one");
        symlink("..2026_1", place.at("..data")).unwrap();
        symlink("..data/gateway.toml", &place.file).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_dated(&self, name: &str, text: &str) {
        fs::create_dir(self.at(name)).unwrap();
        fs::write(self.at(name).join("gateway.toml"), text).unwrap();
    }

    /// As Kubernetes changes a ConfigMap.
    fn swap_dated(&self, old: &str, new: &str, text: &str) {
        self.make_dated(new, text);
        symlink(new, self.at("..data_tmp")).unwrap();
        fs::rename(self.at("..data_tmp"), self.at("..data")).unwrap();
        fs::remove_dir_all(self.at(old)).unwrap();
    }

    fn watch(&self) -> (Watcher, Changes) {
        let (watcher, changes) = start(as_read([&*self.file]), EVENTS_ONLY, Box::new(notify_of)).unwrap();
        (watcher, Changes(changes))
    }
}

/// Files as they are now.
fn as_read<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<ReadFile> {
    let read = |path: &Path| ReadFile { path: path.to_owned(), hash: hash_of(path).unwrap() };
    paths.into_iter().map(read).collect()
}

struct Changes(Receiver<()>);

impl Changes {
    async fn one(&mut self, what: &str) {
        let got = timeout(Duration::from_secs(20), self.0.recv()).await;
        assert!(matches!(got, Ok(Some(()))), "no change was seen: {what}");
    }
}

/// A thread's niceness: the 19th field of its `stat`, the 17th behind its name.
#[cfg(target_os = "linux")]
fn niceness(stat: &Path) -> Option<i32> {
    fs::read_to_string(stat).ok()?.rsplit_once(')')?.1.split_ascii_whitespace().nth(16)?.parse().ok()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_looks_has_stepped_back_behind_requests() {
    let place = Place::new();
    let (_watcher, mut changes) = place.watch();
    fs::write(&place.file, "two").unwrap();
    changes.one("so that it has looked").await;
    let own = niceness(Path::new("/proc/self/stat")).unwrap();
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let mut lookouts =
        threads.filter(|thread| fs::read_to_string(thread.join("comm")).is_ok_and(|name| name == "config-watch\n"));
    // Tests that run beside this one have theirs, too.
    assert!(lookouts.any(|thread| niceness(&thread.join("stat")) == Some((own + NICENESS).min(19))));
}

#[tokio::test]
async fn a_file_written_in_place() {
    let place = Place::new();
    let (_watcher, mut changes) = place.watch();
    for text in ["two", "three", "one"] {
        fs::write(&place.file, text).unwrap();
        changes.one(text).await;
    }
}

#[tokio::test]
async fn a_file_replaced_by_a_rename() {
    let place = Place::new();
    let (_watcher, mut changes) = place.watch();
    for text in ["two", "three"] {
        let new = place.at(".gateway.toml.swp");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &place.file).unwrap();
        changes.one(text).await;
    }
    fs::write(&place.file, "in place after all").unwrap();
    changes.one("the new file is watched").await;
}

#[tokio::test]
async fn a_file_kept_as_a_backup_while_a_new_one_is_written() {
    let place = Place::new();
    let (_watcher, mut changes) = place.watch();
    fs::rename(&place.file, place.at("gateway.toml~")).unwrap();
    fs::write(&place.file, "two").unwrap();
    changes.one("vim's way").await;
}

#[tokio::test]
async fn a_file_deleted_and_made_again() {
    let place = Place::new();
    let (_watcher, mut changes) = place.watch();
    for text in ["two", "three"] {
        fs::remove_file(&place.file).unwrap();
        fs::write(&place.file, text).unwrap();
        changes.one(text).await;
    }
}

#[tokio::test]
async fn a_config_map_swapped_beneath_its_links() {
    let place = Place::config_map();
    let (_watcher, mut changes) = place.watch();
    place.swap_dated("..2026_1", "..2026_2", "two");
    changes.one("the first swap").await;
    place.swap_dated("..2026_2", "..2026_3", "three");
    changes.one("a second swap").await;
    fs::write(place.at("..2026_3/gateway.toml"), "four").unwrap();
    changes.one("the file at the end of the links").await;
}

#[tokio::test]
async fn a_link_pointed_elsewhere() {
    let place = Place::new();
    let elsewhere = Place::new();
    fs::write(&elsewhere.file, "two").unwrap();
    let link = place.at("link.toml");
    symlink(&place.file, &link).unwrap();
    let (_watcher, changes) = start(as_read([&*link]), EVENTS_ONLY, Box::new(notify_of)).unwrap();
    let mut changes = Changes(changes);
    symlink(&elsewhere.file, place.at("link.tmp")).unwrap();
    fs::rename(place.at("link.tmp"), &link).unwrap();
    changes.one("the link").await;
    fs::write(&elsewhere.file, "three").unwrap();
    changes.one("the file in the other folder").await;
}

#[tokio::test]
async fn a_whole_folder_replaced() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let file = at("conf/gateway.toml");
    for (folder, text) in [("conf", "one"), ("conf.new", "two")] {
        fs::create_dir(at(folder)).unwrap();
        fs::write(at(folder).join("gateway.toml"), text).unwrap();
    }
    let (_watcher, changes) = start(as_read([&*file]), EVENTS_ONLY, Box::new(notify_of)).unwrap();
    let mut changes = Changes(changes);
    fs::rename(at("conf"), at("conf.old")).unwrap();
    fs::rename(at("conf.new"), at("conf")).unwrap();
    changes.one("renamed").await;
    fs::remove_dir_all(at("conf")).unwrap();
    fs::create_dir(at("conf")).unwrap();
    fs::write(&file, "three").unwrap();
    changes.one("removed and made again").await;
}

/// The ledger's, by default.
#[cfg(target_os = "linux")]
#[test]
fn a_file_beside_that_is_written_to_all_the_time_wakes_nobody() {
    let place = Place::new();
    let mut beside = fs::File::create(place.at("farebox.db-wal")).unwrap();
    let (messages, inbox) = mpsc::channel();
    let mut system = notify_of(messages).unwrap();
    system.watch(place.folder.path(), RecursiveMode::NonRecursive).unwrap();
    for _ in 0..100 {
        beside.write_all(b"a payment").unwrap();
    }
    fs::write(&place.file, "two").unwrap();
    // Events come in the order in which things happened.
    let Ok(Message::Seen(Ok(first))) = inbox.recv_timeout(Duration::from_secs(20)) else { panic!("no event") };
    assert_eq!(first.paths, [&*place.file], "{first:?}");
}

#[tokio::test]
async fn a_change_between_the_load_and_the_watch() {
    let place = Place::new();
    let loaded = as_read([&*place.file]);
    fs::write(&place.file, "two").unwrap();
    let (_watcher, changes) = start(loaded, EVENTS_ONLY, Box::new(notify_of)).unwrap();
    Changes(changes).one("before the first event").await;
}

#[test]
fn only_another_content_is_a_change() {
    let place = Place::new();
    let blind: Open = Box::new(|_| Ok(Box::new(notify::NullWatcher)));
    let (mut lookout, _messages, mut changes) = Lookout::new(as_read([&*place.file]), EVENTS_ONLY, blind).unwrap();
    let mut look = |what: &str, changed: bool| {
        lookout.look();
        assert_eq!(changes.try_recv().is_ok(), changed, "{what}");
    };
    look("nothing happened", false);
    fs::write(&place.file, "one").unwrap();
    look("written again", false);
    fs::remove_file(&place.file).unwrap();
    look("gone", false);
    fs::create_dir(&place.file).unwrap();
    look("a folder in its place", false);
    fs::remove_dir(&place.file).unwrap();
    fs::write(&place.file, "one").unwrap();
    look("back as it was", false);
    fs::write(&place.file, "").unwrap();
    look("emptied", true);
    fs::write(&place.file, "one").unwrap();
    look("as at the beginning, but not as before", true);
}

#[tokio::test]
async fn several_changes_that_nobody_received_are_one() {
    let place = Place::new();
    let (watcher, mut changes) = place.watch();
    for round in 0..50 {
        fs::write(&place.file, format!("round {round}")).unwrap();
    }
    changes.one("the last").await;
    // The receiver's queue holds one message at most, whatever was written.
    drop(watcher);
    let mut left = 0;
    while changes.0.try_recv().is_ok() {
        left += 1;
    }
    assert!(left <= 1, "{left}");
}

#[tokio::test]
async fn a_file_that_the_config_names() {
    let (place, elsewhere) = (Place::new(), Place::config_map());
    let both = as_read([&*place.file, &*elsewhere.file]);
    let (_watcher, changes) = start(both, EVENTS_ONLY, Box::new(notify_of)).unwrap();
    let mut changes = Changes(changes);
    fs::write(&place.file, "two").unwrap();
    changes.one("the config's own file").await;
    elsewhere.swap_dated("..2026_1", "..2026_2", "two");
    changes.one("a file in another folder").await;
}

#[test]
fn other_files_are_followed_from_when_they_were_read() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let blind: Open = Box::new(|_| Ok(Box::new(notify::NullWatcher)));
    let own = as_read([&*place.file]);
    let (mut lookout, _messages, mut changes) = Lookout::new(own.clone(), EVENTS_ONLY, blind).unwrap();
    let both = as_read([&*place.file, &*elsewhere.file]);
    let mut look = |lookout: &mut Lookout, what: &str, changed: bool| {
        lookout.look();
        assert_eq!(changes.try_recv().is_ok(), changed, "{what}");
    };
    fs::write(&elsewhere.file, "two").unwrap();
    look(&mut lookout, "not followed yet", false);
    assert!(lookout.follow(both.clone()) && !lookout.follow(both), "others, and the same");
    look(&mut lookout, "changed since it was read", true);
    fs::write(&place.file, "two").unwrap();
    look(&mut lookout, "the first one", true);
    assert!(lookout.follow(own), "one less");
    look(&mut lookout, "what was seen last of it counts, not what was read", false);
    fs::write(&elsewhere.file, "three").unwrap();
    look(&mut lookout, "followed no more", false);
}

#[tokio::test]
async fn where_the_system_does_not_watch_the_file_is_read_now_and_then() {
    let place = Place::config_map();
    let pace = Pace { unwatched: Duration::from_millis(5), ..EVENTS_ONLY };
    let limit: Open = Box::new(|_| Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch)));
    let (_watcher, changes) = start(as_read([&*place.file]), pace, limit).unwrap();
    let mut changes = Changes(changes);
    fs::write(&place.file, "two").unwrap();
    changes.one("in place").await;
    place.swap_dated("..2026_1", "..2026_2", "three");
    changes.one("swapped").await;
}

#[tokio::test]
async fn without_any_event_the_file_is_read_now_and_then() {
    let place = Place::new();
    let pace = Pace { anyway: Duration::from_millis(5), ..EVENTS_ONLY };
    let blind: Open = Box::new(|_| Ok(Box::new(notify::NullWatcher)));
    let (_watcher, changes) = start(as_read([&*place.file]), pace, blind).unwrap();
    fs::write(&place.file, "two").unwrap();
    Changes(changes).one("no event, but a look").await;
}

#[test]
fn a_dropped_watcher_has_ended() {
    let place = Place::new();
    let (watcher, mut changes) = place.watch();
    drop(watcher);
    assert_eq!(changes.0.try_recv(), Err(TryRecvError::Disconnected), "the thread has let go of its sender");
}

#[test]
fn the_hash_is_the_start_of_sha_256() {
    let place = Place::new();
    fs::write(&place.file, "abc").unwrap();
    assert_eq!(hash_of(&place.file).unwrap(), "ba7816bf8f01cfea");
    assert!(hash_of(place.folder.path()).is_err(), "a folder is not a file");
    assert!(hash_of(&place.at("missing")).is_err());
}
