//! A copy of the tree, in which the sources are changed. The tree itself is never changed.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Makes `to` equal to the tree `from`. Files that are equal already are not written, so that
/// cargo builds no more than it must. Built and hidden files are not copied.
pub(super) fn update(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("could not create {}", to.display()))?;
    let wanted = entries(from)?;
    for name in entries(to)?.difference(&wanted) {
        remove(&to.join(name))?;
    }
    for name in &wanted {
        let (source, copy) = (from.join(name), to.join(name));
        if source.is_dir() {
            if copy.is_file() {
                remove(&copy)?;
            }
            update(&source, &copy)?;
        } else {
            if copy.is_dir() {
                remove(&copy)?;
            }
            copy_file(&source, &copy)?;
        }
    }
    Ok(())
}

/// The names in a directory, except hidden and built ones.
fn entries(directory: &Path) -> Result<BTreeSet<OsString>> {
    let read = || format!("could not list {}", directory.display());
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).with_context(read)? {
        let name = entry.with_context(read)?.file_name();
        if name != "target" && !name.as_encoded_bytes().starts_with(b".") {
            names.insert(name);
        }
    }
    Ok(names)
}

fn copy_file(source: &Path, copy: &Path) -> Result<()> {
    let text = fs::read(source).with_context(|| format!("could not read {}", source.display()))?;
    if fs::read(copy).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(copy, text).with_context(|| format!("could not write {}", copy.display()))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// All files below `folder` that end in `.rs`, in order.
pub(super) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in entries(folder)? {
        let path = folder.join(name);
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn read(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.0.join(path)).ok()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn copy_becomes_equal_to_the_tree() {
        let tree = Scratch::new("copy-tree");
        tree.write("a/b.rs", "fn b() {}");
        tree.write("c.md", "new");
        tree.write("target/debug/x", "built");
        tree.write(".git/x", "hidden");
        tree.write("d/e", "now in a directory");
        let copy = Scratch::new("copy-copy");
        copy.write("a/b.rs", "fn b() { mutated }");
        copy.write("a/gone.rs", "");
        copy.write("gone/x.rs", "");
        copy.write("target/x", "built");
        copy.write("c.md/x", "a file by now");
        copy.write("d", "a directory by now");
        update(&tree.0, &copy.0).unwrap();
        assert_eq!(copy.read("a/b.rs").as_deref(), Some("fn b() {}"));
        assert_eq!(copy.read("c.md").as_deref(), Some("new"));
        assert_eq!(copy.read("d/e").as_deref(), Some("now in a directory"));
        assert_eq!(copy.read("target/x").as_deref(), Some("built"));
        for gone in ["a/gone.rs", "gone/x.rs", ".git/x", "target/debug/x"] {
            assert_eq!(copy.read(gone), None, "{gone}");
        }
    }

    #[test]
    fn equal_file_is_not_written_again() {
        let tree = Scratch::new("copy-equal");
        tree.write("from/a.rs", "fn a() {}");
        let copy = tree.0.join("to");
        update(&tree.0.join("from"), &copy).unwrap();
        let written = || fs::metadata(copy.join("a.rs")).unwrap().modified().unwrap();
        let first = written();
        update(&tree.0.join("from"), &copy).unwrap();
        assert_eq!(written(), first);
    }

    #[test]
    fn sources_are_the_rust_files() {
        let tree = Scratch::new("copy-sources");
        tree.write("b/c.rs", "");
        tree.write("a.rs", "");
        tree.write("a.md", "");
        let expected = ["a.rs", "b/c.rs"].map(|path| tree.0.join(path));
        assert_eq!(sources(&tree.0).unwrap(), expected);
    }
}
