//! Generates `example.rs` and `account.rs` in `OUT_DIR`.

fn main() -> std::io::Result<()> {
    bobbin_build::compile_protos(&["proto/echo.proto", "proto/account.proto"], &["proto"])
}
