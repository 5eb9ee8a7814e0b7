//! Comparable servers of others, started by the bench and measured as further sides of the same rounds.
mod matrix;
mod server;
mod synapse_variants;
mod xmpp;
mod xmpp_rooms;
mod xmpp_variants;

pub(crate) use xmpp_rooms::{fanout, open};
pub(crate) use xmpp_variants::{history, idle, refused, room};

use crate::{Options, measure::Side};

/// A server of others that the suite is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Peer {
    /// Group chat over XMPP, in Erlang.
    Ejabberd,
    /// Group chat over XMPP, in Lua.
    Prosody,
    /// Rooms of Matrix, in Python; measured where people write and are invited.
    Synapse,
}

const ALL: [Peer; 3] = [Peer::Ejabberd, Peer::Prosody, Peer::Synapse];

impl Peer {
    /// Its name, which is also that of its side.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ejabberd => "ejabberd",
            Self::Prosody => "prosody",
            Self::Synapse => "synapse",
        }
    }

    /// Whether its group chat is XMPP's.
    fn speaks_xmpp(self) -> bool {
        self != Self::Synapse
    }

    /// Whose side that is; none for our own and for the limits.
    pub(crate) fn of_side(side: &str) -> Option<Self> {
        ALL.into_iter().find(|peer| peer.name() == side)
    }
}

/// Fails, and says what to install, where one of them is missing.
pub(crate) fn installed(peers: &[Peer]) -> anyhow::Result<()> {
    peers.iter().try_for_each(|peer| server::installed(*peer))
}

/// `count` senders, each in a room of their own.
pub(crate) async fn send<'a>(options: &Options, count: usize) -> anyhow::Result<Vec<Side<'a>>> {
    let mut sides = xmpp_variants::send(options, count).await?;
    sides.extend(synapse_variants::send(options, count).await?);
    Ok(sides)
}

/// Newcomers are made members by an invitation, enter, and write.
pub(crate) async fn invite<'a>(options: &Options, newcomers: usize) -> anyhow::Result<Vec<Side<'a>>> {
    let mut sides = xmpp_variants::invite(options, newcomers).await?;
    sides.extend(synapse_variants::invite(options, newcomers).await?);
    Ok(sides)
}
