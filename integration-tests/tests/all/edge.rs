//! Every RPC passes the edge, or is listed with a reason in the `exceptions.rs` of its service.
#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::visit::{self, Visit};

/// The service, its proto package below `parta`, and its exceptions.
type Service = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const SERVICES: [Service; 5] = [
    ("org-registry", "org_registry", &[]),
    ("membership", "membership", parta_membership::EXCEPTIONS),
    ("invitation", "invitation", &[]),
    ("chat", "chat", parta_chat::EXCEPTIONS),
    ("call-scheduling", "call_scheduling", &[]),
];

/// The methods of the edge that run a mutation or a query.
const RUNS: [&str; 3] = ["mutate", "mutate_unclaimed", "query"];

/// Returns the RPCs of a service, without those that libraries serve: its feed, its jobs and its quarantines.
fn rpcs(package: &str) -> BTreeSet<String> {
    let pool = parta_proto_all::descriptor_pool().expect("the descriptor set");
    let prefix = format!("parta.{package}.");
    let services = pool
        .services()
        .filter(|service| service.full_name().starts_with(&prefix));
    let shared = ["FeedService", "JobService", "QuarantineService"];
    let own = |name: &str| !shared.iter().any(|suffix| name.ends_with(suffix));
    let services = services.filter(|service| own(service.name()));
    services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| format!("{}/{}", method.parent_service().full_name(), method.name()))
        .collect()
}

/// The handlers in the sources of a service.
#[derive(Default)]
struct Handlers {
    /// The functions that call the edge, each with its type.
    passing: BTreeSet<(String, String)>,
    /// The functions of the traits of gRPC services: the trait and the function, and the type that implements
    /// it.
    implemented: BTreeMap<(String, String), String>,
    /// The calls of functions of fields, `self.calls.plan(..)`: the calling function with its type, the field
    /// and the called function.
    delegated: BTreeMap<(String, String), BTreeSet<(String, String)>>,
    /// The type of a field of a type.
    fields: BTreeMap<(String, String), String>,
    /// Names that a `use` gives to traits: the name and the trait.
    renamed: BTreeMap<String, String>,
    /// The function that is visited, with its type.
    current: (String, String),
}

fn type_name(of: &syn::Type) -> String {
    match of {
        syn::Type::Path(path) => last(&path.path),
        _ => String::new(),
    }
}

fn last(path: &syn::Path) -> String {
    path.segments
        .last()
        .map(|segment| segment.ident.to_string())
        .unwrap_or_default()
}

/// Returns the name of the field in `self.field`.
fn own_field(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Field(field) if matches!(&*field.base, syn::Expr::Path(path) if path.path.is_ident("self")) => {
            match &field.member {
                syn::Member::Named(name) => Some(name.to_string()),
                syn::Member::Unnamed(_) => None,
            }
        }
        _ => None,
    }
}

impl<'ast> Visit<'ast> for Handlers {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        for field in &item.fields {
            if let Some(name) = &field.ident {
                let key = (item.ident.to_string(), name.to_string());
                self.fields.insert(key, type_name(&field.ty));
            }
        }
    }

    fn visit_use_rename(&mut self, item: &'ast syn::UseRename) {
        self.renamed
            .insert(item.rename.to_string(), item.ident.to_string());
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of = type_name(&item.self_ty);
        for inner in &item.items {
            let syn::ImplItem::Fn(function) = inner else {
                continue;
            };
            let name = function.sig.ident.to_string();
            if let Some((_, implemented, _)) = &item.trait_ {
                let key = (last(implemented), name.clone());
                self.implemented.insert(key, of.clone());
            }
            self.current = (of.clone(), name);
            self.visit_impl_item_fn(function);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let (field, method) = (own_field(&call.receiver), call.method.to_string());
        match field.as_deref() {
            Some("edge") if RUNS.contains(&method.as_str()) => {
                self.passing.insert(self.current.clone());
            }
            Some(field) => {
                let delegated = self.delegated.entry(self.current.clone()).or_default();
                delegated.insert((field.to_owned(), method));
            }
            None => {}
        }
        visit::visit_expr_method_call(self, call);
    }
}

impl Handlers {
    /// Reads the sources below a folder.
    fn below(folder: &Path) -> Self {
        let mut handlers = Self::default();
        for entry in walkdir::WalkDir::new(folder) {
            let entry = entry.expect("a readable tree");
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "rs")
            {
                let source = fs::read_to_string(entry.path()).expect("a readable file");
                handlers.visit_file(&syn::parse_file(&source).expect("a Rust source"));
            }
        }
        handlers
    }

    /// Whether the handler of an RPC calls the edge, itself or by a function of one of its fields.
    fn passes(&self, rpc: &str) -> bool {
        let (service, method) = rpc.split_once('/').expect("an RPC");
        let (_, service) = service.rsplit_once('.').expect("a full name");
        let function = snake_case(method);
        let names = self.renamed.iter().filter(|(_, of)| *of == service);
        let mut names = names.map(|(name, _)| name.as_str()).chain([service]);
        let implementing = names.find_map(|name| self.implemented.get(&(name.to_owned(), function.clone())));
        implementing.is_some_and(|of| {
            let handler = (of.clone(), function.clone());
            let mut delegated = self.delegated.get(&handler).into_iter().flatten();
            self.passing.contains(&handler)
                || delegated.any(|(field, called)| {
                    let owner = self.fields.get(&(of.clone(), field.clone()));
                    owner.is_some_and(|owner| self.passing.contains(&(owner.clone(), called.clone())))
                })
        })
    }
}

/// Returns the name of the function that implements a method: `get_jwks` for `GetJwks`.
fn snake_case(method: &str) -> String {
    let mut name = String::new();
    for letter in method.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[test]
fn every_rpc_passes_the_edge_or_is_an_exception() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("the workspace");
    let mut wrong = Vec::new();
    for (service, package, exceptions) in SERVICES {
        let rpcs = rpcs(package);
        for (rpc, reason) in exceptions {
            assert!(rpcs.contains(*rpc), "{service}: {rpc} is no RPC");
            assert!(!reason.is_empty(), "{service}: {rpc} has no reason");
        }
        let handlers = Handlers::below(&root.join("services").join(service).join("src"));
        for rpc in rpcs {
            let is_exception = exceptions.iter().any(|(excepted, _)| *excepted == rpc);
            match (handlers.passes(&rpc), is_exception) {
                (true, true) => wrong.push(format!("{rpc} passes the edge and needs no exception")),
                (false, false) => wrong.push(format!("the handler of {rpc} does not call the edge")),
                _ => {}
            }
        }
    }
    // One implementation serves the jobs and quarantines of every service.
    let jobs = Handlers::below(&root.join("libs/operations/src"));
    let methods = [
        ("ServeJobs", "ListJobs"),
        ("ServeJobs", "RetryJob"),
        ("ServeJobs", "DropJob"),
        ("ServeQuarantines", "GetConsumerStatus"),
        ("ServeQuarantines", "ListQuarantines"),
        ("ServeQuarantines", "ExplainQuarantine"),
        ("ServeQuarantines", "RetryQuarantine"),
        ("ServeQuarantines", "SkipQuarantinedEvent"),
        ("ServeQuarantines", "RebuildProjection"),
    ];
    for (server, method) in methods {
        let rpc = format!("parta.{server}/{method}");
        if !jobs.passes(&rpc) {
            wrong.push(format!(
                "the handler of {method} of libs/operations does not call the edge"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn handlers_are_found_by_the_names_of_their_rpcs() {
    let mut handlers = Handlers::default();
    let source = "
        use a_server::AService as Renamed;
        struct Server { part: Part }
        struct Part { edge: Edge }
        impl Renamed for Server {
            async fn get_one(&self) { self.part.one().await }
            async fn get_two(&self) { self.part.two().await }
            async fn get_three(&self) { other.edge.query(a).await }
        }
        impl Part {
            async fn one(&self) { self.edge.query(a).await }
            async fn two(&self) { self.edge.enter(a).await; self.edge.query }
        }
        impl BService for Part {
            async fn get_two(&self) { async { self.edge.mutate(a).await } }
        }";
    handlers.visit_file(&syn::parse_file(source).expect("a Rust source"));
    let passing = ["GetOne", "GetTwo", "GetThree", "GetFour"].map(|name| {
        let rpc = |service: &str| format!("parta.a.v1.{service}/{name}");
        [
            handlers.passes(&rpc("AService")),
            handlers.passes(&rpc("BService")),
        ]
    });
    assert_eq!(
        passing,
        [[true, false], [false, true], [false, false], [false, false]]
    );
}
