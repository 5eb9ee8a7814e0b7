//! `cargo xtask docs`: generates documents and checks the links, commands and RPCs in all documents.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context as _, bail};
use clap::CommandFactory as _;
use parta_reasons::DocumentedReasons;
use prost_reflect::{DescriptorPool, EnumDescriptor, FileDescriptor};

use crate::{Cli, build::Build, root, walk};

/// The binary of the integration tests that prints docs/permissions.md.
const PERMISSIONS: &str = "permissions";

/// Builds the workspace, then writes the generated documents, or checks all documents.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    let build = Build::workspace()?;
    generate(&build, check)?;
    if check {
        check_references(&build)?;
    }
    Ok(())
}

/// Writes the generated documents, or compares them if `check` is set.
pub(crate) fn generate(build: &Build, check: bool) -> anyhow::Result<()> {
    write_or_compare("errors.md", &errors(&pool()?)?, check)?;
    let output = Command::new(build.binary(PERMISSIONS)?).output()?;
    if !output.status.success() {
        bail!(
            "the permissions cannot be printed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    write_or_compare("permissions.md", &String::from_utf8(output.stdout)?, check)
}

fn write_or_compare(name: &str, text: &str, check: bool) -> anyhow::Result<()> {
    let path = root().join("docs").join(name);
    if !check {
        fs::write(&path, text)?;
        println!("xtask: docs/{name} written");
    } else if fs::read_to_string(&path).unwrap_or_default() != text {
        bail!("docs/{name} is not up to date: run `cargo xtask docs` and commit the result");
    }
    Ok(())
}

/// Returns the protos with comments and options.
pub(crate) fn pool() -> anyhow::Result<DescriptorPool> {
    let folder = root().join("proto");
    let files: BTreeSet<_> = walk("proto")
        .into_iter()
        .filter(|path| path.starts_with(&folder))
        .collect();
    let mut compiler = protox::Compiler::new([&folder])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?;
    Ok(DescriptorPool::decode(
        compiler.encode_file_descriptor_set().as_slice(),
    )?)
}

/// The header of docs/errors.md.
const ERRORS_HEADER: &str = "\
# Errors

This page lists the reasons for which the services refuse calls. `cargo xtask docs` writes it from the protos.
To change a row, change the reason in the `error_reason.proto` of its package and run the command again.

A refused call ends with a gRPC status that has one `google.rpc.ErrorInfo` in its details. To find the row of
a refusal, look for `ErrorInfo.domain` among the headings and for `ErrorInfo.reason` in the first column. The
other columns are:

- **code**: the code of the gRPC status;
- **metadata**: the keys that `ErrorInfo.metadata` always has with this reason;
- **meaning and what to do**: why the call was refused and what the client should do.

Some codes have one rule for all their reasons:

- UNAVAILABLE, and RESOURCE_EXHAUSTED with `RetryInfo`: send the same request again, with the same
  `request_id`, after the delay in `RetryInfo`.
- ABORTED: read the data again and repeat the whole operation.
";

/// Every reason of every package: its code, its metadata, what happened and what to do.
fn errors(pool: &DescriptorPool) -> anyhow::Result<String> {
    let mut text = ERRORS_HEADER.to_owned();
    let documented = DocumentedReasons::read(pool)?;
    let common: Vec<String> = documented.common().map(|reason| format!("`{reason}`")).collect();
    let common = format!(
        "Any RPC may return one of these reasons: {}. The comment of an RPC lists its other reasons.",
        common.join(", ")
    );
    let common = fold(&common);
    let mut reasons: Vec<EnumDescriptor> = pool.all_enums().filter(|e| e.name() == "ErrorReason").collect();
    // The shared reasons come first.
    reasons.sort_by_key(|e| (e.package_name() != "parta.status.v1", e.package_name().to_owned()));
    for reasons in &reasons {
        let noun = reasons
            .package_name()
            .split('.')
            .nth(1)
            .unwrap_or_default()
            .replace('_', "-");
        let domain = if noun == "status" {
            "parta".to_owned()
        } else {
            format!("{noun}.parta")
        };
        write!(
            text,
            "\n## {domain}\n\n{}| reason | code | metadata | meaning and what to do |\n|---|---|---|---|\n",
            if noun == "status" { common.as_str() } else { "" }
        )?;
        for value in reasons.values().filter(|value| value.number() != 0) {
            let extension = pool
                .get_extension_by_name("parta.options.v1.reason")
                .context("no reason option")?;
            let options = value.options();
            let rule = options.get_extension(&extension);
            let rule = rule.as_message().context("a reason has no rule")?;
            let code = rule.get_field_by_name("code").context("no code")?;
            let metadata = rule.get_field_by_name("metadata").context("no metadata")?;
            let keys: Vec<String> = metadata
                .as_list()
                .unwrap_or_default()
                .iter()
                .filter_map(|key| Some(format!("`{}`", key.as_str()?)))
                .collect();
            let reason = value.name().trim_start_matches("ERROR_REASON_");
            let code = code.as_str().unwrap_or_default();
            let comment = comment(&reasons.parent_file(), value.path()).replace('|', "\\|");
            writeln!(text, "| `{reason}` | {code} | {} | {comment} |", keys.join(", "))?;
        }
    }
    Ok(text)
}

/// Returns a paragraph with lines of at most 110 characters.
fn fold(text: &str) -> String {
    let mut folded = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        if width > 0 && width + 1 + word.len() > 110 {
            folded.push('\n');
            width = 0;
        } else if width > 0 {
            folded.push(' ');
            width += 1;
        }
        folded += word;
        width += word.len();
    }
    folded + "\n\n"
}

fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let comments = location.map_or("", |location| location.leading_comments());
    comments.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Checks that the links, commands and RPCs in all documents exist.
pub(crate) fn check_references(build: &Build) -> anyhow::Result<()> {
    let pool = pool()?;
    let mut wrong = Vec::new();
    for path in walk("md") {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).display();
        let folder = path.parent().unwrap_or(Path::new("."));
        let broken = targets(&text).filter(|target| !folder.join(target).exists());
        wrong.extend(broken.map(|target| format!("{shown}: the link {target} is broken")));
        for words in subcommands_after(&text, "cargo xtask ") {
            if !is_known_command(&words) {
                wrong.push(format!("{shown}: there is no `cargo xtask {}`", words.join(" ")));
            }
        }
        let unknown = rpcs(&text).into_iter().filter(|rpc| !exists(&pool, rpc));
        wrong.extend(unknown.map(|rpc| format!("{shown}: there is no RPC {rpc}")));
    }
    let readme = fs::read_to_string(root().join("README.md"))?;
    let commands: BTreeSet<_> = subcommands_after(&readme, "cargo run --release -- ")
        .into_iter()
        .collect();
    for words in commands {
        let output = Command::new(build.binary("parta")?)
            .args(&words)
            .arg("--help")
            .output()?;
        if !output.status.success() {
            wrong.push(format!("README.md: there is no `parta {}`", words.join(" ")));
        }
    }
    if !wrong.is_empty() {
        bail!("documents have broken references:\n{}", wrong.join("\n"));
    }
    Ok(())
}

/// Returns the targets of Markdown links that are paths.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?.split('#').next()?;
        let is_external = target.contains("://") || target.starts_with("mailto:") || target.contains(' ');
        (!target.is_empty() && !is_external).then_some(target)
    })
}

/// Returns the subcommands after each mention of a command, without options and arguments.
fn subcommands_after(text: &str, command: &str) -> Vec<Vec<String>> {
    let mentions = text.split(command).skip(1).map(|rest| {
        let line = rest
            .split(['\n', '`', '#', '&', '|', ';', ',', ')'])
            .next()
            .unwrap_or_default();
        let words = line.split_whitespace();
        let word = |w: &&str| {
            w.starts_with(|c: char| c.is_ascii_lowercase())
                && w.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        };
        words.take_while(word).map(str::to_owned).collect()
    });
    mentions.filter(|words: &Vec<String>| !words.is_empty()).collect()
}

/// Whether xtask has these subcommands. Words after a command without subcommands are ignored.
fn is_known_command(words: &[String]) -> bool {
    let mut command = Cli::command();
    for word in words {
        if !command.has_subcommands() {
            return true;
        }
        let Some(next) = command.find_subcommand(word).cloned() else {
            return false;
        };
        command = next;
    }
    true
}

/// Returns the full names of RPCs in a text, for example `parta.chat.v1.MessageService/SendMessage`.
fn rpcs(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/')));
    let names = words.filter_map(|word| word.rfind("parta.").map(|at| word[at..].trim_end_matches('.')));
    names
        .filter(|name| name.contains(".v1.") && name.split('/').count() == 2)
        .collect()
}

fn exists(pool: &DescriptorPool, rpc: &str) -> bool {
    rpc.split_once('/').is_some_and(|(service, method)| {
        let service = pool.get_service_by_name(service);
        service.is_some_and(|service| service.methods().any(|m| m.name() == method))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_to_files_are_found() {
        let text = "[a](docs/a.md#part) [b](https://example.org/x) [c](#here) [d](mailto:a@b) ![e](e.png)";
        assert_eq!(targets(text).collect::<Vec<_>>(), ["docs/a.md", "e.png"]);
    }

    #[test]
    fn commands_are_found_with_their_subcommands() {
        let text =
            "Run `cargo xtask test`, or:\n\n    cargo xtask bench start --rounds 3\n\n`cargo xtask ci`.";
        assert_eq!(
            subcommands_after(text, "cargo xtask "),
            [vec!["test"], vec!["bench", "start"], vec!["ci"]]
        );
        assert!(is_known_command(&["bench".to_owned(), "start".to_owned()]));
        assert!(!is_known_command(&["unknown".to_owned()]));
    }

    #[test]
    fn rpcs_are_found_and_checked() -> anyhow::Result<()> {
        let text = "http://127.0.0.1:7710/parta.chat.v1.MessageService/SendMessage and parta.chat.v1.A/B.";
        let pool = pool()?;
        let found: Vec<_> = rpcs(text)
            .into_iter()
            .map(|rpc| (rpc, exists(&pool, rpc)))
            .collect();
        assert_eq!(
            found,
            [
                ("parta.chat.v1.A/B", false),
                ("parta.chat.v1.MessageService/SendMessage", true)
            ]
        );
        Ok(())
    }

    #[test]
    fn errors_have_code_metadata_and_description() -> anyhow::Result<()> {
        let errors = errors(&pool()?)?;
        let row = "| `OVERLOADED` | UNAVAILABLE |  | The server is overloaded. Retry after `RetryInfo`. |";
        assert!(errors.contains(row), "{errors}");
        assert!(errors.contains("## org-registry.parta"));
        assert!(errors.contains("Any RPC may return one of these reasons: `BEHIND_CONSISTENCY_TOKEN`, "));
        Ok(())
    }
}
