//! Every RPC passes the edge, or is listed with a reason in the `exceptions.rs` of its service.
#![expect(clippy::expect_used, reason = "a test may fail loudly")]

use std::{collections::BTreeSet, fs, path::Path};

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

/// Returns the RPCs of a service, without those of its feed.
fn rpcs(package: &str) -> BTreeSet<String> {
    let pool = parta_proto_all::descriptor_pool().expect("the descriptor set");
    let prefix = format!("parta.{package}.");
    let services = pool
        .services()
        .filter(|service| service.full_name().starts_with(&prefix));
    let services = services.filter(|service| !service.name().ends_with("FeedService"));
    services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| format!("{}/{}", method.parent_service().full_name(), method.name()))
        .collect()
}

/// Counts the functions that call a method of `self.edge`.
#[derive(Default)]
struct Handlers {
    count: usize,
    within: bool,
}

impl<'ast> Visit<'ast> for Handlers {
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within = false;
        visit::visit_impl_item_fn(self, item);
        // `next` reads the next part of a stream whose RPC was already counted.
        self.count += usize::from(self.within && item.sig.ident != "next");
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let on_edge = matches!(&*call.receiver, syn::Expr::Field(field)
            if matches!(&field.member, syn::Member::Named(name) if name == "edge"));
        self.within |= on_edge && RUNS.iter().any(|run| call.method == run);
        visit::visit_expr_method_call(self, call);
    }
}

fn handlers(root: &Path, service: &str) -> usize {
    let mut handlers = Handlers::default();
    for entry in walkdir::WalkDir::new(root.join("services").join(service).join("src")) {
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
    handlers.count
}

#[test]
fn every_rpc_passes_the_edge_or_is_an_exception() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("the workspace");
    for (service, package, exceptions) in SERVICES {
        let rpcs = rpcs(package);
        for (rpc, reason) in exceptions {
            assert!(rpcs.contains(*rpc), "{service}: {rpc} is no RPC");
            assert!(!reason.is_empty(), "{service}: {rpc} has no reason");
        }
        let passing = handlers(root, service);
        assert_eq!(
            passing + exceptions.len(),
            rpcs.len(),
            "{service}: {passing} handlers call the edge, {} RPCs are exceptions",
            exceptions.len()
        );
    }
}
