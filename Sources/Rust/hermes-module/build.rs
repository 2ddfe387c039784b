//! Finds libhermes.so: HERMES_LIB_DIR, then HERMES_PREFIX/lib, then an installed tree or a checkout around this crate,
//! then pkg-config.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for name in ["HERMES_LIB_DIR", "HERMES_PREFIX", "PKG_CONFIG_PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let directory = find().unwrap_or_else(|| {
        panic!("libhermes.so was not found: set HERMES_LIB_DIR to its folder, or HERMES_PREFIX to where Hermes is installed")
    });
    println!("cargo:rustc-link-search=native={}", directory.display());
    println!("cargo:rustc-link-lib=dylib=hermes");
    println!("cargo:lib_dir={}", directory.display());
}

fn find() -> Option<PathBuf> {
    if let Some(directory) = env::var_os("HERMES_LIB_DIR") {
        return Some(PathBuf::from(directory));
    }
    let mut places = Vec::new();
    if let Some(prefix) = env::var_os("HERMES_PREFIX") {
        places.push(Path::new(&prefix).join("lib"));
    }
    // PREFIX/share/hermes/rust/hermes-module, or a checkout's Sources/Rust/hermes-module.
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    places.extend(here.ancestors().nth(4).map(|prefix| prefix.join("lib")));
    places.extend(here.ancestors().nth(3).map(|checkout| checkout.join(".build/lib")));
    places.extend(pkg_config());
    places.into_iter().find(|place| place.join("libhermes.so").exists())
}

fn pkg_config() -> Option<PathBuf> {
    let answer = Command::new("pkg-config").args(["--variable=libdir", "hermes"]).output().ok()?;
    let directory = String::from_utf8(answer.stdout).ok()?.trim().to_owned();
    (answer.status.success() && !directory.is_empty()).then(|| PathBuf::from(directory))
}
