//! Runs the commands of README's "Five minutes" against a server, in the shells of newcomers.
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, ensure};

use crate::{
    build::Build,
    free_port, root,
    servers::{in_path, local},
};

/// The address of the server in the document.
const ADDRESS: &str = "127.0.0.1:7710";
/// A newcomer sees the message that arrived, and the reason of the refusal.
const SEEN: [&str; 2] = ["\nЗдравствуйте, коллеги!\n", "CALLER_NOT_ACCEPTED\n"];
/// The second run of bash meets the data of the first one.
const SHELLS: [&str; 3] = ["bash", "bash", "zsh"];

/// Starts the server on empty data and runs the commands in each shell.
pub(crate) fn check(buf: &Path, build: &Build) -> anyhow::Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let folder = tempfile::tempdir()?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let script = folder.path().join("five-minutes.sh");
    fs::write(&script, commands(&readme)?.replace(ADDRESS, &address))?;
    let _server = Server::start(build, folder.path(), &address)?;
    local("jq", "jq", || in_path("jq"))?;
    let tools = buf.parent().context("buf has a folder")?.to_path_buf();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&inherited)))?;
    for shell in SHELLS {
        let shell = local(shell, shell, || in_path(shell))?;
        let output = Command::new(&shell)
            .arg(&script)
            .current_dir(folder.path())
            .env("PATH", &path)
            .stdin(Stdio::null())
            .output()?;
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        let printed = printed.concat();
        for seen in SEEN {
            ensure!(
                printed.contains(seen),
                "README's \"Five minutes\" in {} does not print {seen:?}:\n{printed}",
                shell.display()
            );
        }
    }
    println!("xtask: README's \"Five minutes\" runs in {}", SHELLS.join(", "));
    Ok(())
}

/// Returns the commands of the section.
fn commands(readme: &str) -> anyhow::Result<&str> {
    let section = readme.split_once("\n## Five minutes\n").map(|(_, after)| after);
    let block = section.and_then(|section| section.split_once("```bash\n"));
    let block = block.and_then(|(_, after)| after.split_once("```"));
    Ok(block
        .context("README.md has no commands below \"Five minutes\"")?
        .0)
}

/// A server that ends with this value.
struct Server(Child);

impl Server {
    fn start(build: &Build, folder: &Path, address: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(build.binary("parta")?);
        command
            .args(["--set", &format!("server.listen={address}")])
            .current_dir(folder);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Self(command.spawn()?);
        let output = server.0.stdout.take().context("the output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let listens = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains(address));
        ensure!(listens, "the server ended before it listened on {address}");
        // A pipe that nobody reads would stop the server once it is full.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn commands_of_the_section_are_found() {
        let readme = "# X\n```bash\nno\n```\n## Five minutes\n\ntext\n```bash\nyes\n```\n";
        assert_eq!(commands(readme).ok(), Some("yes\n"));
        assert!(commands("# X\n```bash\nno\n```\n").is_err());
    }
}
