//! The canonical JSON mapping and the text format.

use rpc::json::{proto_json_to_proto, proto_to_proto_json, proto_to_text, text_to_proto};

use crate::schema::{SCHEMA, wire};

#[test]
fn canonical_json_has_its_own_names_and_numbers() {
    let wire = wire(
        "every3.Every3",
        "number: 1 by_name { key: \"k\" value { } } when { seconds: 1 } colors: [GREEN, 9]",
    );
    let mut json = Vec::new();
    proto_to_proto_json(&SCHEMA, "every3.Every3", &wire, &mut json).unwrap();
    let json = String::from_utf8(json).unwrap();
    assert_eq!(json, r#"{"number":1,"colors":["GREEN",9],"byName":{"k":{}},"when":"1970-01-01T00:00:01Z"}"#);
    let with_unknown = json.replacen('{', r#"{"unknown":[{}],"#, 1);
    assert_eq!(proto_json_to_proto(&SCHEMA, "every3.Every3", with_unknown.as_bytes()).unwrap(), wire);
    for wrong in ["", "{", "{}x", "[]", r#"{"number":"x"}"#, r#"{"when":1}"#] {
        assert!(proto_json_to_proto(&SCHEMA, "every3.Every3", wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert!(proto_to_proto_json(&SCHEMA, "every3.Every3", &[8], &mut Vec::new()).is_err());
    assert!(proto_json_to_proto(&SCHEMA, "none", b"{}").is_err());
}

#[test]
fn text_has_a_field_on_a_line() {
    let mut text = Vec::new();
    proto_to_text(&SCHEMA, "every.Every", &[8, 1, 0x72, 1, b'a'], &mut text).unwrap();
    assert_eq!(String::from_utf8(text.clone()).unwrap(), "int32: 1\nstring: \"a\"\n");
    assert_eq!(text_to_proto(&SCHEMA, "every.Every", &text).unwrap(), [8, 1, 0x72, 1, b'a']);
    let with_brackets = format!("string: \"{}\" # {}\n", "{\\\"".repeat(1000), "{".repeat(1000));
    assert!(text_to_proto(&SCHEMA, "every.Every", with_brackets.as_bytes()).is_ok(), "these nest nothing");
    for wrong in ["int32: x", "none: 1", "int32: 1 }", "every {"] {
        assert!(text_to_proto(&SCHEMA, "every.Every", wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert!(text_to_proto(&SCHEMA, "every.Every", b"\xff").is_err());
    let mut nothing = Vec::new();
    proto_to_text(&SCHEMA, "every.Every", &[], &mut nothing).unwrap();
    assert!(nothing.is_empty());
}
