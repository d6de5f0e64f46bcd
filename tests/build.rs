//! Generates `features.rs` in `OUT_DIR`.

fn main() -> std::io::Result<()> {
    bobbin_build::compile_protos(&["peers/brpc/features.proto"], &["peers/brpc"])
}
