//! The messages of `messages.proto` as structs for serde and prost.

use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(crate) struct Hello {
    #[prost(string, required, tag = "1")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub(crate) struct Order {
    #[prost(int64, optional, tag = "1")]
    id: Option<i64>,
    #[prost(string, optional, tag = "2")]
    customer: Option<String>,
    #[prost(bool, optional, tag = "3")]
    paid: Option<bool>,
    #[prost(double, optional, tag = "4")]
    total: Option<f64>,
    #[prost(string, repeated, tag = "5")]
    tags: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    items: Vec<Item>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct Item {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(uint32, optional, tag = "2")]
    count: Option<u32>,
    #[prost(double, optional, tag = "3")]
    price: Option<f64>,
}

impl Order {
    /// One of some hundred bytes.
    pub(crate) fn sample() -> Order {
        let item = |count: u32| Item {
            name: Some(format!("thing number {count}")),
            count: Some(count),
            price: Some(f64::from(count) * 1.25),
        };
        Order {
            id: Some(1_234_567_890_123),
            customer: Some("Grüße an \"alle\"".into()),
            paid: Some(true),
            total: Some(1234.5),
            tags: vec!["new".into(), "express".into()],
            items: (1..=8).map(item).collect(),
        }
    }
}
