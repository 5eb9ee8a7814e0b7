//! The form of refusals and log lines, and the names of tests and other items, read from the syntax of a
//! source.
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

/// The names of functions, types, variants, constants and modules.
#[derive(Default)]
struct ItemNames(Vec<String>);

impl ItemNames {
    fn push(&mut self, name: &syn::Ident) {
        self.0.push(name.to_string());
    }
}

impl<'ast> Visit<'ast> for ItemNames {
    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.push(&signature.ident);
        visit::visit_signature(self, signature);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.push(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.push(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.push(&variant.ident);
        visit::visit_variant(self, variant);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.push(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.push(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.push(&item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.push(&item.ident);
        visit::visit_item_static(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.push(&item.ident);
        visit::visit_item_mod(self, item);
    }
}

/// Returns the names of the items of a source, and of the tests that a macro makes.
pub(super) fn item_names(source: &str) -> Vec<String> {
    let file = syn::parse_file(source).expect("a Rust source");
    let mut names = ItemNames::default();
    names.visit_file(&file);
    let mut tests = TestNames::default();
    tests.visit_file(&file);
    names.0.extend(tests.0);
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
    let source = "mod a { enum B { C(u8) } const D: u8 = 1; impl B { fn e() {} } } on_both!(f, |g| h);";
    assert_eq!(item_names(source), ["a", "B", "C", "D", "e", "f"]);
}
