//! The descriptors of the packages, of which each program combines those that it needs.
use prost_reflect::{DescriptorError, DescriptorPool};

/// The descriptors of one package, embedded by its crate.
#[derive(Debug)]
pub struct Package {
    /// The encoded `FileDescriptorSet` of the package and of the files that it imports, with comments and
    /// extension options.
    pub descriptors: &'static [u8],
    /// The RPCs of the package.
    pub methods: &'static [Method],
}

/// One RPC.
#[derive(Debug)]
pub struct Method {
    /// The path: `/parta.chat.v1.ChatService/GetChat`.
    pub path: &'static str,
    /// The service that owns the RPC, in kebab-case: `call-scheduling`.
    pub owner: &'static str,
    /// Whether the client or the server streams.
    pub streaming: bool,
    /// Whether the client streams.
    pub client_streaming: bool,
    /// Whether it changes state, with one request message that has a `request_id`.
    pub mutation: bool,
}

impl Method {
    /// Returns the path without the leading slash, as callers carry it.
    pub fn rpc(&self) -> &'static str {
        self.path.trim_start_matches('/')
    }
}

/// Combines the descriptors of packages. An error means that a build embedded broken descriptors.
pub fn pool<'a>(
    packages: impl IntoIterator<Item = &'a &'static Package>,
) -> Result<DescriptorPool, DescriptorError> {
    let mut pool = DescriptorPool::new();
    for package in packages {
        pool.decode_file_descriptor_set(package.descriptors)?;
    }
    Ok(pool)
}
