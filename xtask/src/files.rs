//! Files and folders of the tasks; all of them lie under `target/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Fallible;

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the checkout").to_owned()
}

/// Cargo's output folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |path| root().join(path))
}

/// The folder `target/<name>`, made if it does not exist.
pub fn target_folder(name: &str) -> Fallible<PathBuf> {
    let folder = target().join(name);
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}

/// Writes a file that never exists half written.
pub fn write_whole(path: &Path, text: &str) -> Fallible<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, text)?;
    fs::rename(&partial, path)?;
    Ok(())
}

/// Whether something in `folder` has a name that begins with `prefix`.
pub fn any_named(folder: &Path, prefix: &str) -> Fallible<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Copies a folder and all that is in it.
pub fn copy(from: &Path, to: &Path) -> Fallible<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
