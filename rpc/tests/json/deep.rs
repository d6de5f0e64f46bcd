//! Depth: bounded where messages nest, free where values are passed over, and never paid for with stack.

use bthread::{Builder, StackClass};
use prost_reflect::prost::encode_length_delimiter;
use rpc::json::{self, JsonError, JsonOptions, MAX_RECURSION_DEPTH};

use crate::schema::{SCHEMA, read, write};

const DEPTH: usize = MAX_RECURSION_DEPTH as usize;
const VERY_DEEP: usize = 10_000;

/// `levels` messages in one another, the outermost one included.
fn nested_json(levels: usize) -> String {
    format!("{}{{}}{}", r#"{"every":"#.repeat(levels - 1), "}".repeat(levels - 1))
}

fn nested_wire(levels: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 1..levels {
        let mut outer = vec![0x8a, 1];
        encode_length_delimiter(wire.len(), &mut outer).unwrap();
        outer.extend(wire);
        wire = outer;
    }
    wire
}

fn on_smallest_stack<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    std::sync::LazyLock::force(&SCHEMA); // the compiler of `.proto` files needs more
    Builder::new().stack(StackClass::Small).spawn(f).unwrap().join().unwrap()
}

#[test]
fn a_hundred_levels_are_read_and_written_and_no_more() {
    assert_eq!(read("every.Every", &nested_json(DEPTH)), Ok(nested_wire(DEPTH)));
    assert_eq!(read("every.Every", &nested_json(DEPTH + 1)), Err(JsonError::TooDeep));
    assert!(write("every.Every", &nested_wire(DEPTH)).is_ok());
    assert_eq!(write("every.Every", &nested_wire(DEPTH + 1)), Err(JsonError::TooDeep));

    let lists =
        |levels: usize| format!("{}{{}}{}", r#"{"everys":[{},"#.repeat(levels - 1), "]}".repeat(levels - 1));
    assert!(read("every.Every", &lists(DEPTH)).is_ok());
    assert_eq!(read("every.Every", &lists(DEPTH + 1)), Err(JsonError::TooDeep));

    // An entry of a map is a level as well.
    let maps =
        |levels: usize| format!("{}{{}}{}", r#"{"messages":{"k":"#.repeat(levels), "}}".repeat(levels));
    let most = (DEPTH - 1) / 2;
    let wire = read("every.Every", &maps(most)).unwrap();
    assert_eq!(read("every.Every", &maps(most + 1)), Err(JsonError::TooDeep));
    assert!(write("every.Every", &wire).is_ok());
    let mut deeper = vec![0x12];
    deeper.extend([wire.len() as u8 | 0x80, (wire.len() >> 7) as u8]);
    deeper.extend(&wire);
    let mut entry = vec![0xa2, 3, deeper.len() as u8 | 0x80, (deeper.len() >> 7) as u8];
    entry.extend(deeper);
    assert_eq!(write("every.Every", &entry), Err(JsonError::TooDeep));
}

#[test]
fn very_deep_texts_fit_on_the_smallest_stack() {
    let object = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let lists = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let unknown = format!(r#"{{"x":{},"int32":1,"y":{}}}"#, object(VERY_DEEP), lists(VERY_DEEP));
    let mismatched = format!(r#"{{"string":{},"int32":1}}"#, lists(VERY_DEEP));
    let texts = [
        (nested_json(VERY_DEEP), Err(JsonError::TooDeep)),
        (unknown, Ok(vec![8, 1])),
        (mismatched, Ok(vec![8, 1])),
        (nested_json(DEPTH), Ok(nested_wire(DEPTH))),
    ];
    for (json, expected) in texts {
        let read = on_smallest_stack(move || {
            let read = json::json_to_proto(&SCHEMA, "every.Every", json.as_bytes(), &JsonOptions::default());
            read.map(|(wire, _)| wire)
        });
        assert_eq!(read, expected);
    }
    let unfinished = [r#"{"every":"#, "[", r#"{"x":["#, r#"{"everys":[{"#, r#"{"messages":{"a":"#];
    for text in unfinished.map(|start| start.repeat(VERY_DEEP)) {
        let read = on_smallest_stack(move || {
            json::json_to_proto(&SCHEMA, "every.Every", text.as_bytes(), &JsonOptions::default())
        });
        assert!(read.is_err());
    }
}

#[test]
fn very_deep_bytes_fit_on_the_smallest_stack() {
    let groups = [0x93, 1, 8, 1].repeat(VERY_DEEP);
    let write_on_small = |wire: Vec<u8>| on_smallest_stack(move || write("every.Every", &wire));
    assert_eq!(write_on_small(nested_wire(VERY_DEEP)), Err(JsonError::TooDeep));
    assert_eq!(write_on_small(groups), Err(JsonError::TooDeep));
    assert!(write_on_small(nested_wire(DEPTH)).is_ok());
}

#[test]
fn other_mappings_find_room_for_themselves() {
    let wire = nested_wire(50);
    let (mut json, mut text) = (Vec::new(), Vec::new());
    let (json, text, wire) = on_smallest_stack(move || {
        json::proto_to_proto_json(&SCHEMA, "every.Every", &wire, &mut json).unwrap();
        json::proto_to_text(&SCHEMA, "every.Every", &wire, &mut text).unwrap();
        (json, text, wire)
    });
    let from_json = on_smallest_stack(move || json::proto_json_to_proto(&SCHEMA, "every.Every", &json));
    assert_eq!(from_json.as_ref(), Ok(&wire));
    let from_text = on_smallest_stack(move || json::text_to_proto(&SCHEMA, "every.Every", &text));
    assert_eq!(from_text, Ok(wire));

    for text in [r#"{"every":"#, r#"{"x":"#, "["].map(|start| start.repeat(VERY_DEEP)) {
        let read =
            on_smallest_stack(move || json::proto_json_to_proto(&SCHEMA, "every.Every", text.as_bytes()));
        assert!(read.is_err());
    }
    for text in ["every{", "every<", "x{", "int32s:["].map(|start| start.repeat(VERY_DEEP)) {
        let read = on_smallest_stack(move || json::text_to_proto(&SCHEMA, "every.Every", text.as_bytes()));
        assert!(read.is_err());
    }
    let deep = nested_wire(VERY_DEEP);
    let written =
        on_smallest_stack(move || json::proto_to_text(&SCHEMA, "every.Every", &deep, &mut Vec::new()));
    assert!(written.is_err());
}
