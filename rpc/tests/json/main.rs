//! JSON and protobuf, each from the other, by the table of the mapping, by chance, and at its limits.

mod canonical;
mod deep;
mod reading;
mod round_trip;
mod schema;
mod writing;
