//! The golden source of `golden.rs` compiles against the runtime, without warnings, and says what the
//! `.proto` files say.

#[allow(missing_docs)] // prost documents what the `.proto` does
pub mod generated {
    include!("golden/protos.rs");
}

use bobbin::{MessageSchema, MethodDescriptor, ProtoMessage};
use generated::names::r#type as names;
use generated::shop::v1::{self as shop, stock};
use generated::{Ping, PingServer};

/// Numbers of the required and of the nested fields.
fn fields_of(schema: Option<&'static MessageSchema>) -> (Vec<u32>, Vec<u32>) {
    let schema = schema.expect("something is required");
    let required = schema.required.iter().map(|field| field.number).collect();
    (required, schema.nested.iter().map(|field| field.number).collect())
}

/// The schema behind nested field `number`.
fn below(schema: Option<&'static MessageSchema>, number: u32) -> Option<&'static MessageSchema> {
    let nested = schema.expect("something is required").nested;
    (nested.iter().find(|field| field.number == number).expect("a nested field").schema)()
}

#[test]
fn required_fields_are_found_wherever_they_hang() {
    assert_eq!(fields_of(shop::Item::SCHEMA), (vec![1, 2], vec![3]));
    assert_eq!(shop::Item::SCHEMA.unwrap().required[1].name, "type");
    assert_eq!(fields_of(shop::Order::SCHEMA), (vec![], vec![1, 2, 4, 6]));
    assert_eq!(fields_of(stock::Shelf::SCHEMA), (vec![], vec![1]));
    assert_eq!(fields_of(Ping::SCHEMA), (vec![1], vec![]));
    assert!(shop::Plain::SCHEMA.is_none());
    assert!(names::Option::SCHEMA.is_none());
}

#[test]
fn nested_schemas_are_those_of_the_messages() {
    let item = shop::Item::SCHEMA.unwrap();
    assert!(std::ptr::eq(below(shop::Item::SCHEMA, 3).unwrap(), item), "a message in itself");
    assert!(std::ptr::eq(below(stock::Shelf::SCHEMA, 1).unwrap(), item), "across packages");
    let entry = below(shop::Order::SCHEMA, 2);
    assert_eq!(fields_of(entry), (vec![], vec![2]), "a map entry");
    assert!(std::ptr::eq(below(entry, 2).unwrap(), item), "a value of a map");
    assert_eq!(fields_of(below(shop::Order::SCHEMA, 4)), (vec![1], vec![]), "in a oneof");
    assert_eq!(fields_of(below(shop::Order::SCHEMA, 6)), (vec![1], vec![]), "a group");
    let groups = shop::Order::SCHEMA.unwrap().nested.iter().filter(|field| field.group);
    assert_eq!(groups.map(|field| field.number).collect::<Vec<_>>(), [6]);
}

#[test]
fn names_on_the_wire_are_those_of_the_proto() {
    assert_eq!(shop::order::Card::FULL_NAME, "shop.v1.Order.Card");
    assert_eq!(names::Self_::FULL_NAME, "names.type.Self");
    assert_eq!(Ping::FULL_NAME, "Ping");

    let full_names = |methods: &'static [MethodDescriptor]| -> Vec<_> {
        methods.iter().map(|method| (method.full_name, method.request_type, method.response_type)).collect()
    };
    assert_eq!(PingServer::DESCRIPTOR.full_name, "PingService");
    assert_eq!(full_names(PingServer::DESCRIPTOR.methods), [("PingService.Ping", "Ping", "Ping")]);
    assert_eq!(
        full_names(stock::StockServer::DESCRIPTOR.methods),
        [
            ("shop.v1.stock.StockService.Find", "google.protobuf.StringValue", "shop.v1.stock.Shelf"),
            ("shop.v1.stock.StockService.Order", "shop.v1.Order", "shop.v1.Plain"),
        ]
    );
    assert_eq!(names::ServiceServer::DESCRIPTOR.full_name, "names.type.Service");
    assert_eq!(names::ServiceServer::DESCRIPTOR.methods[3].name, "Self");
}

#[test]
fn services_carry_their_descriptors() {
    let method = &stock::StockServer::DESCRIPTOR.methods[1];
    let request = method.request_descriptor().unwrap();
    assert_eq!(request.full_name(), "shop.v1.Order");
    assert!(request.parent_file().file_descriptor_proto().source_code_info.is_none());
    assert_eq!(method.response_descriptor().unwrap().full_name(), "shop.v1.Plain");
    let found = stock::StockServer::DESCRIPTOR.methods[0].request_descriptor().unwrap();
    assert_eq!(found.full_name(), "google.protobuf.StringValue", "imports of the library are there");
    let pool = stock::StockServer::DESCRIPTOR.schema.pool().unwrap();
    assert!(pool.get_service_by_name("shop.v1.stock.StockService").is_some());
    assert!(pool.get_service_by_name("PingService").is_none(), "other packages are not");
    assert_eq!(PingServer::DESCRIPTOR.schema, &generated::SCHEMA);
}
