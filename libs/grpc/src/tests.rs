//! The layers of servers and clients, over a real in-memory connection.
mod hostile;
mod layers;
mod retries;
mod revocations;
mod test_env;
