//! Images that are made from programs of this machine: of Parta, and of the servers that its tests need. No
//! registry is contacted.
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use super::Engine;
use crate::{describe, execute, root, servers};

/// The image of this commit.
pub(crate) const PARTA: &str = "parta:dev";
/// PostgreSQL with an empty cluster of databases. It requires the password of every role but
/// `postgres`.
pub(crate) const POSTGRES: &str = "parta-test/postgres:dev";
pub(crate) const NATS: &str = "parta-test/nats:dev";

/// The user `nobody`, by which both servers run.
const NOBODY: &str = "65534:65534";
/// The authorities of certificates, for mail servers and collectors of telemetry.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Makes the image of Parta from a program, with the libraries that it loads, if any.
pub(crate) fn make_parta(engine: &Engine, image: &str, program: &Path) -> anyhow::Result<()> {
    let context = Context::new("parta")?;
    let packed = context.add(program, "usr/bin/parta")?;
    // Symbols are for debuggers and profilers, which are not in the image. The program in the target folder
    // keeps them. A panic names its file and line without them.
    execute(Command::new("strip").arg(packed))?;
    context.add_libraries(program)?;
    let authorities = servers::local("the bundle of certificate authorities", "ca-certificates", || {
        let file = PathBuf::from(AUTHORITIES);
        file.is_file().then_some(file)
    })?;
    context.add(&authorities, AUTHORITIES)?;
    let data = context.root().join("data");
    fs::create_dir(&data)?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o775))?;
    engine.build(image, &root().join("k8s/image/Containerfile"), &context.folder)
}

/// Makes the image of PostgreSQL. Its databases are initialized here, because the image has no shell.
pub(crate) fn make_postgres(engine: &Engine) -> anyhow::Result<()> {
    let initdb = servers::local("initdb", "postgresql", || servers::postgres_bin("initdb"))?;
    let bin = initdb.parent().context("the folder of initdb")?;
    let server = bin.join("postgres");
    let pg_config = |what: &str| -> anyhow::Result<PathBuf> {
        let output = Command::new(bin.join("pg_config")).arg(what).output()?;
        ensure!(output.status.success(), "pg_config {what} failed");
        Ok(String::from_utf8(output.stdout)?.trim().into())
    };
    let (libraries, share) = (pg_config("--pkglibdir")?, pg_config("--sharedir")?);
    let context = Context::new("postgres")?;
    context.add(&server, &server)?;
    context.add_libraries(&server)?;
    for entry in fs::read_dir(&libraries)? {
        let library = entry?.path();
        // Everything except for the compiler of queries, which is larger than the rest.
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".so") && !name.starts_with("llvmjit") {
            context.add(&library, &library)?;
            context.add_libraries(&library)?;
        }
    }
    let system = ["/usr/share/zoneinfo", "/usr/lib/locale/C.utf8"].map(Path::new);
    for folder in std::iter::once(share.as_path()).chain(system) {
        if folder.exists() {
            context.add_folder(folder)?;
        }
    }
    let state = context.folder.join("state");
    fs::create_dir(&state)?;
    // The one that runs initdb must own its folder.
    let data = tempfile::Builder::new().prefix("parta-image-").tempdir()?;
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o700))?;
    if servers::is_root() {
        execute(Command::new("chown").arg(NOBODY).arg(data.path()))?;
    }
    let mut init = servers::unprivileged(&initdb);
    init.args(["--auth=trust", "--username=postgres", "--encoding=UTF8"]);
    init.args(["--locale=C.UTF-8", "--no-sync", "-D"])
        .arg(data.path());
    let output = init.output()?;
    ensure!(
        output.status.success(),
        "{}: {}",
        describe(&init),
        String::from_utf8_lossy(&output.stderr)
    );
    let clients = data.path().join("pg_hba.conf");
    // The roles of the services have passwords. The tests create them as postgres.
    let rules = "local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n";
    fs::write(&clients, rules)?;
    execute(
        Command::new("cp")
            .arg("-a")
            .arg(data.path())
            .arg(state.join("data")),
    )?;
    // After a crash, PostgreSQL syncs its files before it accepts connections. One by one, that takes
    // half a minute for the files of six databases on a slow disk.
    let containerfile = format!(
        "FROM scratch\nCOPY root/ /\nCOPY --chown={NOBODY} state/ /var/lib/postgresql/\nUSER {NOBODY}\n\
         ENTRYPOINT [\"{}\", \"-D\", \"/var/lib/postgresql/data\", \"-c\", \"listen_addresses=*\", \
         \"-c\", \"unix_socket_directories=\", \"-c\", \"recovery_init_sync_method=syncfs\"]\n",
        server.display()
    );
    context.build(engine, POSTGRES, &containerfile)
}

/// Makes the image of NATS.
pub(crate) fn make_nats(engine: &Engine) -> anyhow::Result<()> {
    let program = servers::local("nats-server", "nats-server", || servers::in_path("nats-server"))?;
    let context = Context::new("nats")?;
    context.add(&program, "nats-server")?;
    context.add_libraries(&program)?;
    let containerfile = format!("FROM scratch\nCOPY root/ /\nUSER {NOBODY}\nENTRYPOINT [\"/nats-server\"]\n");
    context.build(engine, NATS, &containerfile)
}

/// The folder that is sent to the engine. `root` in it becomes the root of the image.
struct Context {
    folder: PathBuf,
}

impl Context {
    fn new(name: &str) -> anyhow::Result<Self> {
        let folder = Engine::workspace().join("images").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("root"))?;
        Ok(Self { folder })
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Copies a file to a path of the image, unless it is there. Links are followed.
    fn add(&self, file: &Path, path: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
        let path = path.as_ref();
        let copy = self.root().join(path.strip_prefix("/").unwrap_or(path));
        if !copy.exists() {
            fs::create_dir_all(copy.parent().context("a folder")?)?;
            fs::copy(file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        Ok(copy)
    }

    /// Copies a folder to its own path.
    fn add_folder(&self, folder: &Path) -> anyhow::Result<()> {
        let copy = self.root().join(folder.strip_prefix("/").unwrap_or(folder));
        let parent = copy.parent().context("a folder")?;
        fs::create_dir_all(parent)?;
        execute(Command::new("cp").arg("-rL").arg(folder).arg(parent))
    }

    /// Copies the libraries that a program loads, with the loader, to their own paths.
    fn add_libraries(&self, program: &Path) -> anyhow::Result<()> {
        let output = Command::new("ldd").arg(program).output()?;
        for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
            self.add(&library, &library)?;
        }
        Ok(())
    }

    fn build(&self, engine: &Engine, image: &str, containerfile: &str) -> anyhow::Result<()> {
        let file = self.folder.join("Containerfile");
        fs::write(&file, containerfile)?;
        engine.build(image, &file, &self.folder)
    }
}

/// Reads the paths of libraries in the output of `ldd`: `libc.so.6 => /lib/libc.so.6 (0x7f00)`, and
/// `/lib64/ld-linux.so.2 (0x7f00)` for the loader. A static program has none.
fn libraries(output: &str) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let line = line.trim();
        let path = line.split_once(" => ").map_or(line, |(_, path)| path);
        let path = path.split(" (").next().filter(|path| path.starts_with('/'))?;
        Some(PathBuf::from(path))
    };
    output.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_of_a_program_are_found() {
        let output = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                      \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f6a)\n\
                      \tlibgone.so.1 => not found\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f6b)\n";
        let found: Vec<_> = libraries(output).into_iter().collect();
        let expected = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(libraries("\tstatically linked\n").is_empty());
    }
}
