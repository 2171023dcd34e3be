use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use super::*;

/// A file of a package: source from the root of the tree, destination, mode.
type Asset = (String, String, String);

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn manifest() -> Value {
    let mut query = Command::new(env!("CARGO"));
    query.args(["metadata", "--no-deps", "--format-version", "1"]);
    let metadata = process::output(query.current_dir(root())).unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|package| package["name"] == MANIFEST_OF);
    package.unwrap()["metadata"].clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn deb_assets() -> BTreeSet<Asset> {
    let manifest = manifest();
    let assets = manifest["deb"]["assets"].as_array().unwrap();
    let asset = |asset: &Value| {
        // cargo-deb looks from the package's directory, and writes no leading slash.
        let source = text(&asset[0]);
        let source = source.strip_prefix("../").unwrap_or(&source).to_owned();
        (source, format!("/{}", text(&asset[1])), text(&asset[2]))
    };
    assets.iter().map(asset).collect()
}

fn rpm_assets() -> BTreeSet<Asset> {
    let manifest = manifest();
    let assets = manifest["generate-rpm"]["assets"].as_array().unwrap();
    let asset = |asset: &Value| {
        (
            text(&asset["source"]),
            // zsh looks elsewhere on Fedora.
            text(&asset["dest"]).replace("site-functions", "vendor-completions"),
            text(&asset["mode"]),
        )
    };
    assets.iter().map(asset).collect()
}

#[test]
fn both_packages_have_the_same_files() {
    let mut deb = deb_assets();
    // Debian's form of the changelog.
    deb.retain(|(source, _, _)| source != "target/release/package/changelog");
    assert_eq!(deb, rpm_assets());
}

#[test]
fn each_file_of_a_package_exists() {
    for (source, _, _) in deb_assets() {
        if let Some(made) = source.strip_prefix("target/release/package/") {
            let unit = stage::UNITS.contains(&made) || made == "changelog";
            assert!(unit || made.starts_with("man"), "nothing makes {source}");
        } else if let Some((directory, pattern)) = source.rsplit_once("/*") {
            let mut entries = fs::read_dir(root().join(directory)).unwrap().flatten();
            let fits = |name: &str| name.ends_with(pattern);
            assert!(
                entries.any(|entry| entry.file_name().to_str().is_some_and(fits)),
                "no file fits {source}"
            );
        } else if source != "target/release/heartbeat" {
            assert!(root().join(&source).is_file(), "{source}");
        }
    }
}

/// Linux-HA's packages own the other names, and a removal of theirs may delete them.
#[test]
fn packages_share_no_path_with_linux_ha() {
    const THEIRS: [&str; 8] = [
        "/etc/ha.d",
        "/etc/init.d/heartbeat",
        "/usr/lib/heartbeat",
        "/usr/libexec/heartbeat",
        "/usr/lib/systemd/system/heartbeat.service",
        "/usr/share/doc/heartbeat/",
        "/usr/share/heartbeat/",
        "/var/lib/heartbeat/",
    ];
    for (source, to, _) in deb_assets() {
        let name = source.rsplit('/').next().unwrap_or_default();
        let path = if to.ends_with('/') {
            format!("{to}{name}")
        } else {
            to
        };
        let taken = THEIRS.iter().find(|theirs| path.starts_with(*theirs));
        assert!(
            taken.is_none_or(|theirs| path.starts_with(&format!("{theirs}-xdp"))),
            "{path}"
        );
    }
    for kind in ["deb", "generate-rpm"] {
        assert_eq!(text(&manifest()[kind]["name"]), "heartbeat-xdp");
    }
    assert_eq!(text(&manifest()["deb"]["conflicts"]), "heartbeat");
    assert_eq!(
        text(&manifest()["generate-rpm"]["conflicts"]["heartbeat"]),
        "*"
    );
}

#[test]
fn scripts_are_valid_and_start_no_cluster() {
    let directory = root().join("dist/package");
    let mut scripts = vec![directory.join("after-upgrade")];
    for kind in ["deb", "rpm"] {
        let entries = fs::read_dir(directory.join(kind)).unwrap();
        scripts.extend(entries.map(|entry| entry.unwrap().path()));
    }
    assert_eq!(scripts.len(), 7);
    for script in scripts {
        let name = script.display();
        process::output(Command::new("sh").arg("-n").arg(&script)).unwrap();
        if let Some(shellcheck) = process::find("shellcheck") {
            process::output(Command::new(shellcheck).args(["-s", "sh"]).arg(&script)).unwrap();
        }
        let text = fs::read_to_string(&script).unwrap();
        let commands: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("systemctl"))
            .collect();
        for command in commands {
            let restart = script.ends_with("after-upgrade") && command.contains(" restart ");
            let harmless = ["daemon-reload", "is-active"]
                .iter()
                .any(|word| command.contains(word));
            assert!(harmless || restart, "{name}: {command}");
        }
    }
}

#[test]
fn units_of_the_packages_run_the_binary_of_the_packages() {
    for unit in stage::UNITS {
        let by_hand = fs::read_to_string(root().join("dist").join(unit)).unwrap();
        let packaged = stage::packaged(&by_hand);
        assert!(
            packaged.contains("ExecStart=/usr/sbin/heartbeat "),
            "{packaged}"
        );
        assert!(!packaged.contains("/usr/local"), "{packaged}");
    }
}
