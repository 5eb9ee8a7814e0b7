//! The form of refusals and log lines, and the names of tests, read from the syntax of a source.
use syn::visit::{self, Visit};

/// Functions whose last text argument is the message of a refusal.
const REFUSALS: &[&str] = &["Decision::allow_if", "RpcError::new"];
/// Macros of `tracing` whose last text is the message of an event.
const LOGS: &[&str] = &["error", "warn", "info", "debug", "trace"];
/// Names with which a log line may begin.
const NAMES: &[&str] = &["NATS", "PostgreSQL", "SMS", "SQLite", "TLS"];
/// Macros that make one or two tests of a name.
const TEST_MACROS: &[&str] = &["on_both", "property_on_both", "on_sqlite", "on_postgres"];

/// Returns the last segments of a path, for example `Decision::allow_if`.
fn last(path: &syn::Path, segments: usize) -> String {
    let names: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
    names[names.len().saturating_sub(segments)..].join("::")
}

/// Returns the text of a literal, or of the first argument of `format!`.
fn text(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) => Some(text.value()),
        syn::Expr::Macro(call) if call.mac.path.is_ident("format") => literals(&call.mac).into_iter().next(),
        _ => None,
    }
}

/// Returns the string literals of a macro call, without those in nested groups.
fn literals(call: &syn::Macro) -> Vec<String> {
    call.tokens
        .clone()
        .into_iter()
        .filter_map(|token| syn::parse_str::<syn::LitStr>(&token.to_string()).ok())
        .map(|literal| literal.value())
        .collect()
}

/// Collects the faults of production code. Items under `cfg(test)` are skipped.
#[derive(Default)]
struct Faults(Vec<String>);

impl<'ast> Visit<'ast> for Faults {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !crate::architecture::is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && REFUSALS.contains(&last(&function.path, 2).as_str())
            && let Some(message) = call.args.last().and_then(text)
        {
            let begins_well = message.starts_with(|c: char| c.is_uppercase() || c == '{');
            if !begins_well || !message.ends_with('.') {
                self.0.push(format!("the refusal is not a sentence: {message}"));
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if LOGS.contains(&last(&call.path, 1).as_str())
            && let Some(message) = literals(call).last()
        {
            let is_name = NAMES.iter().any(|name| message.starts_with(name));
            if message.ends_with('.') || (message.starts_with(char::is_uppercase) && !is_name) {
                self.0.push(format!("the log line is a sentence: {message}"));
            }
        }
        visit::visit_macro(self, call);
    }
}

/// Returns the refusals that are not sentences and the log lines that are.
pub(super) fn faults(source: &str) -> Vec<String> {
    let mut faults = Faults::default();
    faults.visit_file(&syn::parse_file(source).expect("a Rust source"));
    faults.0
}

#[derive(Default)]
struct TestNames(Vec<String>);

impl<'ast> Visit<'ast> for TestNames {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if function
            .attrs
            .iter()
            .any(|attribute| attribute.path().is_ident("test"))
        {
            self.0.push(function.sig.ident.to_string());
        }
        visit::visit_item_fn(self, function);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if TEST_MACROS.contains(&last(&call.path, 1).as_str())
            && let Some(name) = call.tokens.clone().into_iter().next()
        {
            self.0.push(name.to_string());
        }
    }
}

/// Returns the names of the tests of a source, also those that a macro makes.
pub(super) fn test_names(source: &str) -> Vec<String> {
    let mut names = TestNames::default();
    names.visit_file(&syn::parse_file(source).expect("a Rust source"));
    names.0
}

#[test]
fn faults_of_sentences_are_found() {
    for (body, count) in [
        (r#"Decision::allow_if(a, "only staff may do this");"#, 1),
        (r#"Decision::allow_if(a, "Only staff can do this.");"#, 0),
        (r#"RpcError::new(B, format!("no such {kind}"));"#, 1),
        (r#"tracing::warn!(%error, "The bus is lost.");"#, 1),
        (r#"tracing::warn!(%error, "bus lost");"#, 0),
        (r#"tracing::warn!("PostgreSQL cannot be reached");"#, 0),
    ] {
        let found = faults(&format!("fn a() {{ {body} }}"));
        assert_eq!(found.len(), count, "{body}: {found:?}");
    }
}

#[test]
fn names_of_tests_are_found() {
    let source = "#[test] fn first() {} fn other() {} on_both!(second, |database| async move {});";
    assert_eq!(test_names(source), ["first", "second"]);
}
