//! What the examples share: the generated echo service, and the load that clients put on it.

#[allow(missing_docs)] // prost documents what the `.proto` does
pub mod example {
    include!(concat!(env!("OUT_DIR"), "/example.rs"));
}

pub mod load;
