//! The products beside heartbeat, from the distribution's packages: unpacked, and not installed.
//!
//! An installation would start their services on this machine. A node of the rig has the unpacked
//! files over its own `/usr` and `/etc` instead.

use std::{ffi::OsString, fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{apt::Apt, process, setup::Verbosity, unpacked::Store, workspace::Workspace};

/// The variable that names the directory for the programs of package `heartbeat-tests`.
const VARIABLE: &str = "HEARTBEAT_PEERS";
/// The file of a product with its packages and their versions.
const VERSIONS: &str = "versions";
/// Directories that a merged /usr has as links into it.
const MERGED: [&str; 3] = ["lib", "bin", "sbin"];

/// A product: the name of its directory, its packages, and those that are only needed with them.
struct Product {
    name: &'static str,
    packages: &'static [&'static str],
    needed: &'static [&'static str],
}

const PRODUCTS: [Product; 4] = [
    Product {
        name: "keepalived",
        packages: &["keepalived"],
        needed: &[],
    },
    Product {
        name: "frr",
        packages: &["frr"],
        needed: &[],
    },
    Product {
        name: "pacemaker",
        packages: &["corosync", "pacemaker", "resource-agents"],
        needed: &["pacemaker-cli-utils"],
    },
    Product {
        name: "etcd",
        packages: &["etcd-server"],
        // The client takes the lock, and arping announces the address.
        needed: &["etcd-client", "iputils-arping"],
    },
];

/// Downloads and unpacks the products. One that cannot be had is reported, and missing.
pub(crate) fn variable(
    workspace: &Workspace,
    verbosity: Verbosity,
) -> Result<(&'static str, OsString)> {
    let directory = workspace.tools().join("peers");
    fs::create_dir_all(&directory)
        .with_context(|| format!("could not create {}", directory.display()))?;
    let mut store = Store::new(directory.clone());
    for product in &PRODUCTS {
        match unpack(&mut store, product) {
            Ok(()) if verbosity == Verbosity::Everything => {
                println!(
                    "{}: {}",
                    product.name,
                    directory.join(product.name).display()
                );
            }
            Ok(()) => {}
            Err(error) => eprintln!("setup: {} cannot be had: {error:#}", product.name),
        }
    }
    Ok((VARIABLE, directory.into()))
}

fn unpack(store: &mut Store, product: &Product) -> Result<()> {
    let wanted = [product.packages, product.needed].concat();
    let root = store.ensure(product.name, |apt| apt.with_missing(&wanted))?;
    let file = root.join(VERSIONS);
    if !file.exists() {
        merge(&root)?;
        fs::write(&file, versions(product)?)?;
    }
    Ok(())
}

/// The packages of a product and their versions, one a line.
fn versions(product: &Product) -> Result<String> {
    let apt = Apt::find().context("this system has no apt")?;
    let line = |package: &&str| {
        let version = apt.candidate(package)?.unwrap_or_default();
        Ok(format!("{package} {version}\n"))
    };
    product.packages.iter().map(line).collect()
}

/// Moves the files below `lib`, `bin` and `sbin` of `root` to the same directories of its `usr`.
fn merge(root: &Path) -> Result<()> {
    for name in MERGED {
        let (from, to) = (root.join(name), root.join("usr").join(name));
        if !from.is_dir() {
            continue;
        }
        fs::create_dir_all(&to)?;
        process::run(Command::new("cp").args(["-a", "-T"]).arg(&from).arg(&to))?;
        fs::remove_dir_all(&from)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_an_unmerged_usr_are_moved_into_it() {
        let root = std::env::temp_dir().join(format!("heartbeat-merge-{}", std::process::id()));
        let write = |path: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, "").expect("a file");
        };
        write("lib/triple/one.so");
        write("usr/lib/triple/two.so");
        let merged = merge(&root);
        let there = |path: &str| root.join(path).exists();
        let found = ["usr/lib/triple/one.so", "usr/lib/triple/two.so", "lib"].map(there);
        fs::remove_dir_all(&root).expect("an end");
        merged.expect("merged");
        assert_eq!(found, [true, true, false]);
    }
}
