mod growth;
mod responsible;
