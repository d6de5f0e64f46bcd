//! Generates `simulate.rs` in `OUT_DIR`.

fn main() -> std::io::Result<()> {
    bobbin_build::compile_protos(&["simulate.proto"], &["."])
}
