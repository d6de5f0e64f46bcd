//! Generated source is what is checked in under `tests/golden`; `BOBBIN_UPDATE_GOLDEN=1` rewrites it.
//! That the checked-in source compiles is shown in `compiles.rs`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use bobbin_build::Config;

/// Every file that the generator writes for [`PROTOS`].
const GOLDEN: &[&str] =
    &["_.rs", "example.rs", "names.r#type.rs", "protos.rs", "shop.v1.rs", "shop.v1.stock.rs"];
const PROTOS: &[&str] = &["echo.proto", "shop/stock.proto", "names.proto", "no_package.proto"];

fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn file_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn generated_source_is_the_golden_source() {
    let out_dir = tempfile::tempdir().unwrap();
    let protos: Vec<PathBuf> = PROTOS.iter().map(|name| tests_dir().join("protos").join(name)).collect();
    Config::new()
        .out_dir(out_dir.path())
        .include_file("protos.rs")
        .compile_protos(&protos, &[tests_dir().join("protos")])
        .unwrap();

    let golden_dir = tests_dir().join("golden");
    assert_eq!(file_names(out_dir.path()), GOLDEN);
    if env::var_os("BOBBIN_UPDATE_GOLDEN").is_some() {
        for name in GOLDEN {
            fs::copy(out_dir.path().join(name), golden_dir.join(name)).unwrap();
        }
    }
    assert_eq!(file_names(&golden_dir), GOLDEN);
    for name in GOLDEN {
        let generated = fs::read_to_string(out_dir.path().join(name)).unwrap();
        let golden = fs::read_to_string(golden_dir.join(name)).unwrap();
        assert!(generated == golden, "{name} differs from the golden file; new source:\n{generated}");
    }
}

#[test]
fn the_runtime_is_named_as_asked() {
    let out_dir = tempfile::tempdir().unwrap();
    Config::new()
        .out_dir(out_dir.path())
        .runtime_path("crate::deep::runtime")
        .compile_protos(&[tests_dir().join("protos/echo.proto")], &[tests_dir().join("protos")])
        .unwrap();
    let source = fs::read_to_string(out_dir.path().join("example.rs")).unwrap();
    assert!(!source.contains("bobbin"));
    assert!(source.contains("impl crate::deep::runtime::Service for EchoServer"));
    assert!(source.contains(r#"#[prost(prost_path = "crate::deep::runtime::prost")]"#));
}

#[test]
fn what_exists_elsewhere_is_referred_to_and_not_generated() {
    let out_dir = tempfile::tempdir().unwrap();
    Config::new()
        .out_dir(out_dir.path())
        .extern_path(".shop.v1", "::shop")
        .extern_path(".shop.v1.stock", "crate::stock")
        .compile_protos(
            &[tests_dir().join("protos/shop/stock.proto"), tests_dir().join("protos/echo.proto")],
            &[tests_dir().join("protos")],
        )
        .unwrap();
    assert_eq!(file_names(out_dir.path()), ["example.rs"]);

    let out_dir = tempfile::tempdir().unwrap();
    Config::new()
        .out_dir(out_dir.path())
        .extern_path(".shop.v1.Item", "::shop::Thing")
        .compile_protos(&[tests_dir().join("protos/shop/stock.proto")], &[tests_dir().join("protos")])
        .unwrap();
    let source = fs::read_to_string(out_dir.path().join("shop.v1.stock.rs")).unwrap();
    assert!(source.contains("<::shop::Thing as ::bobbin::ProtoMessage>::SCHEMA"));
}
