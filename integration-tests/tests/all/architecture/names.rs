//! The names that a database and its operator see follow one scheme: `<service>.<thing>` for tasks, consumers
//! and jobs, and `<owner>_<number>_<thing>` for migrations, where the owner is a service or a library.
use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::{SERVICES, is_test, sources};

/// The names that one file gives.
#[derive(Default)]
struct Names {
    /// Tasks and consumers, and the kinds of jobs.
    background: Vec<String>,
    /// Every text with a number as a word, which the name of a migration has.
    numbered: Vec<String>,
    /// Arguments that should be constants whose names end with `JOB`, and are not.
    unnamed: Vec<String>,
}

fn text(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

fn last(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

impl Names {
    fn of(source: &str) -> Self {
        let mut names = Self::default();
        names.visit_file(&syn::parse_file(source).expect("a Rust source"));
        names
    }

    fn job(&mut self, kind: Option<&syn::Expr>) {
        let name = kind.and_then(last).unwrap_or_default();
        if !name.ends_with("JOB") {
            self.unnamed.push(name);
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        if item.ident.to_string().ends_with("JOB") {
            self.background.extend(text(&item.expr));
        }
        visit::visit_item_const(self, item);
    }

    fn visit_expr_struct(&mut self, item: &'ast syn::ExprStruct) {
        if item
            .path
            .segments
            .last()
            .is_some_and(|s| s.ident == "ConsumerNames")
        {
            self.background
                .extend(item.fields.iter().filter_map(|field| text(&field.expr)));
        }
        visit::visit_expr_struct(self, item);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func {
            let names: Vec<_> = path.path.segments.iter().map(|s| s.ident.to_string()).collect();
            match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["Task", "new" | "over" | "periodic" | "consumer"] => {
                    self.background.extend(call.args.first().and_then(text));
                }
                [.., "parta_jobs", "enqueue" | "enqueue_at"] => self.job(call.args.get(1)),
                _ => {}
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "handle" && call.args.len() == 2 {
            self.job(call.args.first());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        let text = text.value();
        let is_number = |word: &str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
        if text.trim_start_matches('m').split('_').any(is_number) && !text.contains(' ') {
            self.numbered.push(text);
        }
    }
}

fn is_snake_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Returns the number of a migration whose name follows the scheme.
fn number(owner: &str, name: &str) -> Option<usize> {
    let (number, thing) = name.strip_prefix(owner)?.strip_prefix('_')?.split_once('_')?;
    (number.len() == 4 && is_snake_case(thing)).then(|| number.parse().ok())?
}

#[test]
fn names_of_background_work_follow_the_scheme() {
    let (mut wrong, mut read) = (Vec::new(), 0);
    for (path, source) in sources(false) {
        let Some(owner) = SERVICES
            .iter()
            .find(|name| path.starts_with(&format!("services/{name}/")))
        else {
            continue;
        };
        let names = Names::of(&source);
        read += names.background.len();
        let prefix = format!("{}.", owner.replace('-', "_"));
        let follows = |name: &&String| !name.strip_prefix(&prefix).is_some_and(is_snake_case);
        wrong.extend(
            names
                .background
                .iter()
                .filter(follows)
                .map(|name| format!("{path}: {name}")),
        );
        wrong.extend(
            names
                .unnamed
                .iter()
                .map(|name| format!("{path}: `{name}` is no constant of a job")),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(read > 15, "only {read} names were read");
}

#[test]
fn names_of_migrations_follow_the_scheme() {
    let (mut wrong, mut numbers) = (Vec::new(), BTreeMap::<String, Vec<usize>>::new());
    for (path, source) in sources(false) {
        let mut parts = path.split('/');
        let (Some("libs" | "services"), Some(owner)) = (parts.next(), parts.next()) else {
            continue;
        };
        if !path.contains("/migrations/") && !path.ends_with("/migrations.rs") {
            continue;
        }
        let owner = owner.replace('-', "_");
        for name in Names::of(&source).numbered {
            match number(&owner, &name) {
                Some(number) => numbers.entry(owner.clone()).or_default().push(number),
                None => wrong.push(format!("{path}: {name}")),
            }
        }
    }
    for (owner, mut numbers) in numbers.clone() {
        // The migration of the feature `upgrade-test` is in no program that is shipped.
        numbers.retain(|number| *number != 9999);
        numbers.sort_unstable();
        if numbers != (1..=numbers.len()).collect::<Vec<_>>() {
            wrong.push(format!("{owner} has the migrations {numbers:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(numbers.len() > 8, "only {} owners were read", numbers.len());
}

#[test]
fn names_of_every_kind_are_read() {
    let names = Names::of(
        "const MAIL_JOB: &str = \"a.mail\"; const N: ConsumerNames = ConsumerNames { members: \"a.members\" };
         fn f() { Task::over(\"a.jobs\", db); Task::periodic(\"a.purge\", HOUR, db); runner.handle(MAIL_JOB, h); parta_jobs::enqueue(tx, \"mail\"); }
         fn name() -> &str { \"a_0001_tables\" }",
    );
    assert_eq!(names.background, ["a.mail", "a.members", "a.jobs", "a.purge"]);
    assert_eq!(names.unnamed, [""]);
    assert_eq!(names.numbered, ["a_0001_tables"]);
    assert_eq!(number("a", "a_0001_tables"), Some(1));
    for wrong in [
        "m0001_tables",
        "a_1_tables",
        "b_0001_tables",
        "a_0001_",
        "a_0001_Tables",
    ] {
        assert_eq!(number("a", wrong), None, "{wrong}");
    }
}
