//! Generates the code of a proto package without protoc, for the build scripts of the crates beside this one.
//!
//! Each crate includes `package.rs`: the generated types by the path of their package below the crate (`v1`,
//! `internal::v1`), the descriptors, and implementations of the traits of `parta-proto`. Types of an imported
//! package are those of the crate that generates it.
use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorPool, EnumDescriptor, MessageDescriptor, MethodDescriptor, Value};

/// The error of a build script.
pub type Error = Box<dyn std::error::Error>;

/// The packages that the crate `parta-proto` generates.
const COMMON: [&str; 4] = ["feed", "jobs", "options", "status"];
/// The folder of the protos, relative to the folder of a crate.
const PROTOS: &str = "../..";

/// Generates the packages `parta.<name>` and those below them.
#[expect(
    clippy::print_stdout,
    reason = "cargo reads the instructions of a build script there"
)]
pub fn generate(names: &[&str]) -> Result<(), Error> {
    let mut files = Vec::new();
    for name in names {
        list(&Path::new(PROTOS).join("parta").join(name), &mut files)?;
    }
    let mut compiler = protox::Compiler::new([PROTOS])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?;
    let pool = compiler.descriptor_pool();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // The descriptor types of prost would drop the extension options that carry the access rules.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    fs::write(out.join("package.rs"), Package::new(names, &pool).code()?)?;

    let mut config = tonic_prost_build::configure()
        .bytes(".")
        .codec_path("::parta_proto::ProtoCodec")
        .emit_rerun_if_changed(false);
    let packages: Vec<String> = pool.files().map(|file| file.package_name().to_owned()).collect();
    let used: BTreeSet<&str> = packages.iter().filter_map(|package| owner(package)).collect();
    for name in used {
        println!("cargo::rerun-if-changed={PROTOS}/parta/{name}");
        if !names.contains(&name) {
            let path = if COMMON.contains(&name) {
                format!("::parta_proto::{name}")
            } else {
                format!("::parta_proto_{name}")
            };
            config = config.extern_path(format!(".parta.{name}"), path);
        }
    }
    config.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

fn list(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

/// Returns `chat` for `parta.chat.v1`; `None` for packages from outside the repository.
fn owner(package: &str) -> Option<&str> {
    package.strip_prefix("parta.")?.split('.').next()
}

/// The packages of one crate, for the code that the generators of prost and tonic do not write.
struct Package<'a> {
    names: &'a [&'a str],
    pool: &'a DescriptorPool,
}

impl<'a> Package<'a> {
    fn new(names: &'a [&'a str], pool: &'a DescriptorPool) -> Self {
        Self { names, pool }
    }

    fn is_own(&self, package: &str) -> bool {
        owner(package).is_some_and(|owner| self.names.contains(&owner))
    }

    /// Returns the path of a package below the crate: `internal::v1`.
    fn path(&self, package: &str) -> String {
        let root = match self.names {
            [name] => format!("parta.{name}."),
            _ => "parta.".to_owned(),
        };
        package.strip_prefix(&root).unwrap_or(package).replace('.', "::")
    }

    fn code(&self) -> Result<String, Error> {
        let mut code = String::new();
        self.modules(&mut code)?;
        self.descriptors(&mut code)?;
        for message in self.pool.all_messages() {
            let own = self.is_own(message.package_name()) && message.parent_message().is_none();
            if own && message.name().ends_with("Request") && has_request_id(&message) {
                writeln!(
                    code,
                    "impl ::parta_proto::MutationRequest for {}::{} {{\n    \
                     fn request_id(&self) -> &str {{ &self.request_id }}\n}}",
                    self.path(message.package_name()),
                    message.name()
                )?;
            }
        }
        for reasons in self.pool.all_enums() {
            if self.is_own(reasons.package_name()) && reasons.name() == "ErrorReason" {
                self.reasons(&mut code, &reasons)?;
            }
        }
        Ok(code)
    }

    fn modules(&self, code: &mut String) -> Result<(), Error> {
        let files: Vec<String> = self
            .pool
            .files()
            .map(|file| file.package_name().to_owned())
            .collect();
        let packages: BTreeSet<&String> = files.iter().filter(|package| self.is_own(package)).collect();
        let services = self
            .pool
            .services()
            .any(|service| self.is_own(service.parent_file().package_name()));
        // The code of clients and servers has attributes that clippy refuses.
        if services {
            writeln!(
                code,
                "#[expect(clippy::all, clippy::allow_attributes, clippy::allow_attributes_without_reason, \
                 reason = \"generated\")]"
            )?;
        }
        writeln!(code, "mod generated {{")?;
        let mut roots = BTreeSet::new();
        for package in packages {
            let path = self.path(package);
            for module in path.split("::") {
                write!(code, "pub mod {module} {{ ")?;
            }
            write!(code, "include!(concat!(env!(\"OUT_DIR\"), \"/{package}.rs\"));")?;
            writeln!(code, "{}", " }".repeat(path.split("::").count()))?;
            roots.extend(path.split("::").next().map(str::to_owned));
        }
        let roots: Vec<String> = roots.into_iter().collect();
        writeln!(code, "}}\npub use generated::{{{}}};", roots.join(", "))?;
        Ok(())
    }

    fn descriptors(&self, code: &mut String) -> Result<(), Error> {
        writeln!(
            code,
            "/// The descriptors of the package.\n\
             pub static PACKAGE: ::parta_proto::Package = ::parta_proto::Package {{\n\
             descriptors: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/descriptors.bin\")),\n\
             methods: &["
        )?;
        for service in self.pool.services() {
            let file = service.parent_file();
            let Some(owner) = owner(file.package_name()).filter(|owner| self.names.contains(owner)) else {
                continue;
            };
            for method in service.methods() {
                let (streaming, mutation) = kind(&method);
                let client_streaming = method.is_client_streaming();
                writeln!(
                    code,
                    "::parta_proto::Method {{ path: \"/{}/{}\", owner: \"{}\", streaming: {streaming}, \
                     client_streaming: {client_streaming}, mutation: {mutation} }},",
                    service.full_name(),
                    method.name(),
                    owner.replace('_', "-"),
                )?;
            }
        }
        writeln!(code, "] }};")?;
        Ok(())
    }

    /// Implements `Reason` from the options of the enum. A value without a valid gRPC code fails the build.
    fn reasons(&self, code: &mut String, reasons: &EnumDescriptor) -> Result<(), Error> {
        let package = reasons.package_name();
        let domain = match owner(package).unwrap_or_default() {
            "status" => "parta".to_owned(),
            service => format!("{}.parta", service.replace('_', "-")),
        };
        let extension = self
            .pool
            .get_extension_by_name("parta.options.v1.reason")
            .ok_or("options.proto declares no `reason`")?;
        let (mut codes, mut metadata) = (String::new(), String::new());
        for value in reasons.values().filter(|value| value.number() != 0) {
            let options = value.options();
            let option = options.get_extension(&extension);
            let rule = option.as_message().ok_or("`reason` is not a message")?;
            let grpc_code = rule
                .get_field_by_name("code")
                .and_then(|name| variant(name.as_str()?))
                .ok_or_else(|| format!("{} has no valid gRPC code", value.full_name()))?;
            writeln!(codes, "{} => ::tonic::Code::{grpc_code},", value.number())?;
            let keys = rule.get_field_by_name("metadata");
            let keys = keys.as_deref().and_then(Value::as_list).unwrap_or_default();
            let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
            if !keys.is_empty() {
                writeln!(metadata, "{} => &{keys:?},", value.number())?;
            }
        }
        writeln!(
            code,
            "impl ::parta_proto::Reason for {}::ErrorReason {{\n\
             fn text(&self) -> &'static str {{\n    \
             let name = self.as_str_name();\n    name.strip_prefix(\"ERROR_REASON_\").unwrap_or(name)\n}}\n\
             fn domain() -> &'static str {{ \"{domain}\" }}\n\
             fn code(&self) -> ::tonic::Code {{ match *self as i32 {{\n{codes}_ => ::tonic::Code::Internal,\n}} }}\n\
             fn metadata(&self) -> &'static [&'static str] {{ match *self as i32 {{\n{metadata}_ => &[],\n}} }}\n}}",
            self.path(package)
        )?;
        Ok(())
    }
}

fn has_request_id(request: &MessageDescriptor) -> bool {
    request.get_field_by_name("request_id").is_some()
}

/// Returns whether the client or the server streams, and whether one request message with a `request_id`
/// changes state.
fn kind(method: &MethodDescriptor) -> (bool, bool) {
    let client_streams = method.is_client_streaming();
    (
        client_streams || method.is_server_streaming(),
        !client_streams && has_request_id(&method.input()),
    )
}

/// Returns the variant of `tonic::Code` for the name of a gRPC code.
fn variant(name: &str) -> Option<&'static str> {
    Some(match name {
        "CANCELLED" => "Cancelled",
        "INVALID_ARGUMENT" => "InvalidArgument",
        "DEADLINE_EXCEEDED" => "DeadlineExceeded",
        "NOT_FOUND" => "NotFound",
        "ALREADY_EXISTS" => "AlreadyExists",
        "PERMISSION_DENIED" => "PermissionDenied",
        "RESOURCE_EXHAUSTED" => "ResourceExhausted",
        "FAILED_PRECONDITION" => "FailedPrecondition",
        "ABORTED" => "Aborted",
        "OUT_OF_RANGE" => "OutOfRange",
        "UNIMPLEMENTED" => "Unimplemented",
        "INTERNAL" => "Internal",
        "UNAVAILABLE" => "Unavailable",
        "DATA_LOSS" => "DataLoss",
        "UNAUTHENTICATED" => "Unauthenticated",
        _ => return None,
    })
}
