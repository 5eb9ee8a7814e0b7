//! Other chat servers, which the bench starts and measures as variants of the same rounds.
mod matrix;
mod server;
mod synapse_variants;
mod xmpp;
mod xmpp_rooms;
mod xmpp_variants;

pub(crate) use xmpp_rooms::{fanout, open};
pub(crate) use xmpp_variants::{history, idle, refused, room};

use crate::{Options, measure::Variant};

/// A chat server that Parta is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Competitor {
    /// Group chat over XMPP, in Erlang.
    Ejabberd,
    /// Group chat over XMPP, in Lua.
    Prosody,
    /// Rooms of Matrix, in Python. Only the cases that send messages or invite members are measured.
    Synapse,
}

const ALL: [Competitor; 3] = [Competitor::Ejabberd, Competitor::Prosody, Competitor::Synapse];

impl Competitor {
    /// Returns the name of the server, which is also the name of its variant.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ejabberd => "ejabberd",
            Self::Prosody => "prosody",
            Self::Synapse => "synapse",
        }
    }

    /// Whether the server uses XMPP.
    fn uses_xmpp(self) -> bool {
        self != Self::Synapse
    }

    /// Returns the competitor of a variant; `None` for Parta and the baselines.
    pub(crate) fn for_variant(variant: &str) -> Option<Self> {
        ALL.into_iter().find(|competitor| competitor.name() == variant)
    }
}

/// Fails with the packages to install if one of the competitors is not installed.
pub(crate) fn check_installed(competitors: &[Competitor]) -> anyhow::Result<()> {
    competitors
        .iter()
        .try_for_each(|competitor| server::check_installed(*competitor))
}

/// Returns the variants with `count` senders, each in a room of its own.
pub(crate) async fn send<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Variant<'a>>> {
    let mut variants = xmpp_variants::send(options, count).await?;
    variants.extend(synapse_variants::send(options, count).await?);
    Ok(variants)
}

/// Returns the variants in which new members are invited, enter a room and send a message.
pub(crate) async fn invite<'a>(options: &Options, newcomers: usize) -> anyhow::Result<Vec<Variant<'a>>> {
    let mut variants = xmpp_variants::invite(options, newcomers).await?;
    variants.extend(synapse_variants::invite(options, newcomers).await?);
    Ok(variants)
}
