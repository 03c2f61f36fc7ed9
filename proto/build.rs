//! Compiles the `.proto` files with protox, so that no `protoc` is needed; the generated code
//! lives in `OUT_DIR` only, in a real and a simulated form.
use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 5] = [
        "proto/tidegate/v1/raft.proto",
        "proto/tidegate/v1/store.proto",
        "proto/tidegate/v1/audit.proto",
        "proto/tidegate/v1/admin.proto",
        "proto/tidegate/v1/decision.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let path = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(&path, descriptors.encode_to_vec())?;
    tonic_build::configure()
        .bytes([
            ".tidegate.v1.Frame",
            ".tidegate.v1.WatchUpdate",
            ".tidegate.v1.WatchEntry",
        ])
        .file_descriptor_set_path(&path)
        .skip_protoc_run()
        .compile_protos(&FILES, &["proto"])?;
    Ok(())
}
