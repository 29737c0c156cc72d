//! The way to a file through symlinks.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// As many links as Linux follows in one path.
const LINKS_MAX: u32 = 40;

/// What must be watched to learn that a path, or one of several, leads elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// The folder of each link and of the file, or the last folder that there is; free of links themselves.
    folders: BTreeSet<PathBuf>,
    /// Each link and the file, in those folders.
    steps: BTreeSet<PathBuf>,
}

impl Chain {
    /// Walks absolute paths.
    pub(super) fn walk<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Chain {
        let mut chain = Chain::default();
        for path in paths {
            chain.walk_on(path);
        }
        chain
    }

    fn walk_on(&mut self, path: &Path) {
        let mut here = PathBuf::new();
        let mut ahead = Vec::new();
        push_components(&mut ahead, path);
        let mut links: u32 = 0;
        while let Some(name) = ahead.pop() {
            match Path::new(&name).components().next() {
                None | Some(Component::CurDir) => continue,
                Some(Component::ParentDir) => {
                    here.pop();
                    continue;
                }
                Some(Component::Prefix(_) | Component::RootDir) => {
                    here.push(&name);
                    continue;
                }
                Some(Component::Normal(_)) => {}
            }
            let next = here.join(&name);
            // What is not there, or not ours to see, may come: in this folder, under this name.
            let Ok(found) = fs::symlink_metadata(&next) else {
                self.add(&here, next);
                break;
            };
            if !found.is_symlink() || links == LINKS_MAX {
                if ahead.is_empty() {
                    self.add(&here, next.clone());
                }
                here = next;
                continue;
            }
            links = links.saturating_add(1);
            self.add(&here, next.clone());
            let Ok(target) = fs::read_link(&next) else { break };
            if target.is_absolute() {
                here = PathBuf::new();
            }
            push_components(&mut ahead, &target);
        }
    }

    /// What to watch.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(PathBuf::as_path)
    }

    /// Whether something that happened to this path may matter.
    pub(super) fn holds(&self, path: &Path) -> bool {
        self.steps.contains(path) || self.folders.contains(path)
    }

    fn add(&mut self, folder: &Path, step: PathBuf) {
        self.folders.insert(folder.to_owned());
        self.steps.insert(step);
    }
}

/// The first component comes out first.
fn push_components(ahead: &mut Vec<OsString>, path: &Path) {
    ahead.extend(path.components().rev().map(|component| component.as_os_str().to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(paths: &BTreeSet<PathBuf>, root: &Path) -> Vec<String> {
        paths.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    /// A folder whose own path has no links.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        (temp, root)
    }

    #[test]
    fn a_config_map_is_watched_at_its_links_and_its_file() {
        let (_temp, root) = folder();
        fs::create_dir(root.join("..2026_1")).unwrap();
        fs::write(root.join("..2026_1/gateway.toml"), "").unwrap();
        symlink("..2026_1", root.join("..data")).unwrap();
        symlink("..data/gateway.toml", root.join("gateway.toml")).unwrap();
        let chain = Chain::walk([&*root.join("gateway.toml")]);
        assert_eq!(names(&chain.folders, &root), ["", "..2026_1"]);
        assert_eq!(names(&chain.steps, &root), ["..2026_1/gateway.toml", "..data", "gateway.toml"]);
    }

    #[test]
    fn links_may_be_absolute_or_lead_upwards() {
        let (_temp, root) = folder();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("c")).unwrap();
        fs::write(root.join("c/file"), "").unwrap();
        symlink(root.join("a/b"), root.join("way")).unwrap();
        symlink("../../c/./file", root.join("a/b/file")).unwrap();
        let chain = Chain::walk([&*root.join("way/file")]);
        assert_eq!(names(&chain.folders, &root), ["", "a/b", "c"]);
        assert_eq!(names(&chain.steps, &root), ["a/b/file", "c/file", "way"]);
    }

    #[test]
    fn what_is_missing_is_awaited_in_the_last_folder_that_is_there() {
        let (_temp, root) = folder();
        let chain = Chain::walk([&*root.join("conf/deep/file")]);
        assert_eq!(names(&chain.folders, &root), [""]);
        assert_eq!(names(&chain.steps, &root), ["conf"]);
    }

    #[test]
    fn a_ring_of_links_has_an_end() {
        let (_temp, root) = folder();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let chain = Chain::walk([&*root.join("a")]);
        assert_eq!(names(&chain.folders, &root), [""]);
        assert_eq!(names(&chain.steps, &root), ["a", "b"]);
    }
}
