//! Compiles every proto of the suite without protoc and keeps the descriptor set, options included.
use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn protos(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            protos(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../../parta");
    let mut files = Vec::new();
    protos(Path::new("../../parta"), &mut files)?;
    let mut compiler = protox::Compiler::new(["../.."])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // prost's own descriptor types would drop the extension options that carry the access rules.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let set = compiler.file_descriptor_set();

    let mut traits = String::new();
    for file in &set.file {
        let package = file.package();
        if !package.starts_with("parta.") {
            continue;
        }
        let module = package.replace('.', "::");
        for message in &file.message_type {
            let name = message.name();
            if name.ends_with("Request") && message.field.iter().any(|f| f.name() == "request_id") {
                writeln!(
                    traits,
                    "impl crate::MutationRequest for crate::{module}::{name} {{\n    \
                     fn request_id(&self) -> &str {{ &self.request_id }}\n}}"
                )?;
            }
        }
    }
    fs::write(out.join("messages.rs"), traits)?;

    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::ProtoCodec")
        .include_file("parta.rs")
        .emit_rerun_if_changed(false)
        .compile_fds(set)?;
    Ok(())
}
