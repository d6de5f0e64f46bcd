//! What is wrong in a `.proto` is told with its place, and nothing is written or panics.

use std::fs;
use std::path::Path;

use bobbin_build::Config;

/// Compiles `files` (name, content), the first of which is the one asked for, and gives the error's text.
fn error_of(files: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let out_dir = tempfile::tempdir().unwrap();
    let result =
        Config::new().out_dir(out_dir.path()).compile_protos(&[dir.path().join(files[0].0)], &[dir.path()]);
    assert!(is_empty(out_dir.path()), "something was written");
    let error = result.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    error.to_string()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn syntax_errors_have_a_place() {
    let error = error_of(&[("bad.proto", "syntax = \"proto3\";\nmessage M {\n  int32 x;\n}\n")]);
    assert!(error.starts_with("bad.proto:3:10: "), "{error}");
}

#[test]
fn an_unknown_type_has_a_place() {
    let error =
        error_of(&[("bad.proto", "syntax = \"proto3\";\nservice S {\n  rpc F(Gone) returns (Gone);\n}\n")]);
    assert!(error.starts_with("bad.proto:3:9: ") && error.contains("Gone"), "{error}");
}

#[test]
fn an_error_in_an_import_is_told_of_the_import() {
    let error = error_of(&[
        ("good.proto", "syntax = \"proto3\";\nimport \"bad.proto\";\n"),
        ("bad.proto", "syntax = \"proto3\";\n\nmessage {}\n"),
    ]);
    assert!(error.starts_with("bad.proto:3:9: "), "{error}");
}

#[test]
fn a_missing_import_has_a_place() {
    let error = error_of(&[("bad.proto", "syntax = \"proto3\";\nimport \"gone.proto\";\n")]);
    assert!(
        error.contains("bad.proto:") && error.contains("2:1: ") && error.contains("gone.proto"),
        "{error}"
    );
}

#[test]
fn imports_in_a_circle_are_refused() {
    let error = error_of(&[
        ("a.proto", "syntax = \"proto3\";\nimport \"b.proto\";\n"),
        ("b.proto", "syntax = \"proto3\";\nimport \"a.proto\";\n"),
    ]);
    assert!(error.contains("a.proto -> b.proto -> a.proto"), "{error}");
}

#[test]
fn streams_are_refused_by_the_name_of_the_method() {
    for (argument, result) in [("stream M", "M"), ("M", "stream M"), ("stream M", "stream M")] {
        let proto = format!(
            "syntax = \"proto3\";\npackage p.q;\nmessage M {{}}\nservice S {{\n  rpc Fine(M) returns (M);\n  rpc F({argument}) returns ({result});\n}}\n"
        );
        let error = error_of(&[("bad.proto", &proto)]);
        assert!(error.starts_with("bad.proto:6:3: method p.q.S.F has a `stream`"), "{error}");
    }
}

#[test]
fn two_types_of_one_name_are_refused() {
    let proto = "syntax = \"proto3\";\nmessage EchoServer {}\nservice EchoService {\n  rpc F(EchoServer) returns (EchoServer);\n}\n";
    assert_eq!(
        error_of(&[("bad.proto", proto)]),
        "bad.proto:3:1: service EchoService needs the Rust type `EchoServer`, as does message EchoServer at bad.proto:2:1"
    );
    let two_files = [
        (
            "b.proto",
            "syntax = \"proto3\";\nimport \"a.proto\";\nservice Echo {\n  rpc F(M) returns (M);\n}\n",
        ),
        (
            "a.proto",
            "syntax = \"proto3\";\nmessage M {}\nservice EchoService {\n  rpc F(M) returns (M);\n}\n",
        ),
    ];
    assert_eq!(
        error_of(&two_files),
        "b.proto:3:1: service Echo needs the Rust type `EchoServer`, as does service EchoService at a.proto:3:1"
    );
}

#[test]
fn an_edition_is_refused_with_a_place() {
    let error = error_of(&[("bad.proto", "edition = \"2023\";\nmessage M { int32 x = 1; }\n")]);
    assert!(error.starts_with("bad.proto:1:1: "), "{error}");
}

#[test]
fn a_file_that_is_not_there_or_not_in_an_include_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("outside.proto"), "syntax = \"proto3\";\n").unwrap();
    let wrong = [
        (dir.path().join("gone.proto"), "there is no such file"),
        (outside.path().join("outside.proto"), "is not in any include path"),
    ];
    for (path, reason) in wrong {
        let result = Config::new().out_dir(dir.path()).compile_protos(&[&path], &[dir.path()]);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn no_file_and_a_bad_runtime_path_are_refused() {
    let none: [&str; 0] = [];
    assert_eq!(
        Config::new().compile_protos(&none, &["."]).unwrap_err().to_string(),
        "no .proto file was given"
    );
    for path in ["", "::", "bobbin", "::a::", "super::a", "::a b", "::1"] {
        let error = Config::new().runtime_path(path).compile_protos(&["a.proto"], &["."]).unwrap_err();
        assert!(error.to_string().starts_with(&format!("runtime path `{path}` is not like")), "{error}");
    }
}

#[test]
fn unwrap_in_a_build_script_prints_the_text_as_it_is() {
    let error = Config::new().runtime_path("a\"b").compile_protos(&["a.proto"], &["."]).unwrap_err();
    assert!(format!("{error:?}").contains("runtime path `a\"b` is not"), "{error:?}");
}

#[test]
fn a_file_cut_off_anywhere_compiles_or_has_an_error_with_a_place() {
    let order = include_str!("protos/shop/order.proto");
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.proto");
    let out_dir = tempfile::tempdir().unwrap();
    let mut errors = 0;
    for length in 0..order.len() {
        fs::write(&cut, &order[..length]).unwrap();
        let result = Config::new().out_dir(out_dir.path()).compile_protos(&[&cut], &[dir.path()]);
        if let Err(error) = result {
            assert!(error.to_string().starts_with("cut.proto:"), "{length}: {error}");
            errors += 1;
        }
    }
    assert!(errors > order.len() / 2, "only {errors} of {} were refused", order.len());
}
