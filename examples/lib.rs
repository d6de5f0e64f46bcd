//! What the examples share: the generated services, and the load that clients put on it.

#[allow(missing_docs)] // prost documents what the `.proto` does
pub mod example {
    include!(concat!(env!("OUT_DIR"), "/example.rs"));
}

#[allow(missing_docs)] // as above
pub mod account {
    include!(concat!(env!("OUT_DIR"), "/account.rs"));
}

pub mod load;
