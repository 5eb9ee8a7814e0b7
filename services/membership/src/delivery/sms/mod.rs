//! Sends a code by SMS through the HTTP gateway of a provider: a request from a template, and the mapping of
//! the provider's responses (docs/adr/0012).

mod gateway;
mod results;
mod template;

pub(super) use gateway::Gateway;
pub(crate) use gateway::problems;
