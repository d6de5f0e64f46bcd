//! Protobuf to JSON: each row of protocols-http §18.2 and §18.3, and bytes that no serializer makes.

use rpc::json::JsonError;

use crate::schema::{options, wire, write, write_with};

/// The JSON of a message of `every.Every` in the text format, without its maps, which are empty.
fn every(text: &str) -> String {
    strip_maps(&write("every.Every", &wire("every.Every", text)).unwrap())
}

const EMPTY_MAPS: &str = r#""numbers":{},"messages":{},"by_color":{}"#;

fn strip_maps(json: &str) -> String {
    json.replace(&format!(",{EMPTY_MAPS}"), "").replace(EMPTY_MAPS, "")
}

#[test]
fn scalars_are_written_by_their_types() {
    let table = [
        ("int32: -2147483648", r#"{"int32":-2147483648}"#),
        ("sint32: -2147483648", r#"{"sint32":-2147483648}"#),
        ("sfixed32: -1", r#"{"sfixed32":-1}"#),
        ("uint32: 4294967295", r#"{"uint32":4294967295}"#),
        ("fixed32: 4294967295", r#"{"fixed32":4294967295}"#),
        ("int64: -9223372036854775808", r#"{"int64":-9223372036854775808}"#),
        ("sint64: 9223372036854775807", r#"{"sint64":9223372036854775807}"#),
        ("sfixed64: -1", r#"{"sfixed64":-1}"#),
        ("uint64: 18446744073709551615", r#"{"uint64":18446744073709551615}"#),
        ("fixed64: 18446744073709551615", r#"{"fixed64":18446744073709551615}"#),
        ("float: 0.1", r#"{"float":0.10000000149011612}"#),
        ("float: 2", r#"{"float":2.0}"#),
        ("double: 0.1", r#"{"double":0.1}"#),
        ("double: 1e21", r#"{"double":1e21}"#),
        ("double: -1e20", r#"{"double":-100000000000000000000.0}"#),
        ("double: 1e-7", r#"{"double":1e-7}"#),
        ("double: nan", r#"{"double":"NaN"}"#),
        ("float: -inf", r#"{"float":"-Infinity"}"#),
        ("bool: true", r#"{"bool":true}"#),
        ("bool: false", r#"{"bool":false}"#),
        (r#"string: "a\"\\/\n\001é""#, r#"{"string":"a\"\\/\n\u0001é"}"#),
        ("string: \"\"", r#"{"string":""}"#),
        (r#"bytes: "\377\376\375\374""#, r#"{"bytes":"//79/A=="}"#),
        ("color: ALSO_GREEN", r#"{"color":"ALSO_GREEN"}"#),
        ("color: NEGATIVE", r#"{"color":"NEGATIVE"}"#),
        ("far: 1", r#"{"far":1}"#),
        ("", "{}"),
    ];
    for (text, expected) in table {
        assert_eq!(every(text), expected);
    }
}

#[test]
fn lists_and_messages_are_nested() {
    assert_eq!(
        every(
            "every { every { int32: 1 } } Group { a: 2 every { } } everys { } everys { bool: true } Groups { b: \"c\" } Groups { }"
        ),
        r#"{"every":{"every":{"int32":1}},"group":{"a":2,"every":{}},"everys":[{},{"bool":true}],"groups":[{"b":"c"},{}]}"#
    );
    assert_eq!(
        every(
            "int32s: [1, -2] sint64s: [-1] fixed32s: [1, 2] doubles: [1.5] bools: [true, false] strings: [\"a\", \"\"] bytess: \"a\" colors: [GREEN, RED]"
        ),
        r#"{"int32s":[1,-2],"sint64s":[-1],"fixed32s":[1,2],"doubles":[1.5],"bools":[true,false],"strings":["a",""],"bytess":["YQ=="],"colors":["GREEN","RED"]}"#
    );
}

#[test]
fn maps_come_last_and_empty_ones_too() {
    let written = |text| write("every.Every", &wire("every.Every", text)).unwrap();
    assert_eq!(written(""), format!("{{{EMPTY_MAPS}}}"));
    assert_eq!(
        written("numbers { key: \"\" value: 0 } far: 1"),
        r#"{"far":1,"numbers":{"":0},"messages":{},"by_color":{}}"#
    );
    assert_eq!(
        strip_maps(&written("messages { key: \"a\" value { int32: 1 } } by_number { key: 1 value: \"b\" }")),
        r#"{"by_number":[{"key":1,"value":"b"}],"numbers":{},"messages":{"a":{"int32":1}},"by_color":{}}"#
    );
    // Entries in the other order, merged, and with nothing in them.
    let entries: [(&[u8], &str); 4] = [
        (&[0x9a, 3, 5, 16, 7, 10, 1, b'k'], r#""numbers":{"k":7}"#),
        (&[0x9a, 3, 0], r#""numbers":{"":0}"#),
        (&[0x9a, 3, 7, 10, 1, b'a', 16, 1, 16, 2], r#""numbers":{"a":2}"#),
        (&[0xa2, 3, 0, 0xa2, 3, 8, 18, 2, 8, 1, 18, 2, 16, 2], ""),
    ];
    for (bytes, expected) in entries {
        let json = write("every.Every", bytes).unwrap();
        assert!(json.contains(expected), "{json}");
    }
    assert_eq!(
        strip_maps(&write("every.Every", entries[3].0).unwrap()),
        r#"{"numbers":{},"messages":{"":{},"":{"int32":1,"sint32":1}},"by_color":{}}"#
    );
}

#[test]
fn what_looks_like_a_map_is_one() {
    let json = write(
        "every.Shapes",
        &wire(
            "every.Shapes",
            "pairs { key: \"a\" } pairs { key: \"b\" value: 2 } no_pairs { key: \"c\" } last: 1
             message_pairs { key: \"d\" } message_pairs { value { needed: 1 } }",
        ),
    );
    let expected = r#"{"no_pairs":[{"key":"c"}],"last":1,"pairs":{"a":null,"b":2},"message_pairs":{"d":null,"":{"needed":1}}}"#;
    assert_eq!(json.as_deref(), Ok(expected));
    let read_back = crate::schema::read("every.Shapes", expected).unwrap();
    assert_eq!(write("every.Shapes", &read_back).as_deref(), Ok(expected));
    let missing = write("every.Shapes", &[10, 2, 16, 1]).unwrap_err();
    assert_eq!(missing, JsonError::MissingRequired { field: "every.Pair.key".into() });
}

#[test]
fn names_and_extensions() {
    let names = wire("every.Names", "a_Z045_b: 1 snakeAnd_Camel: 2 _Z034_: 3");
    assert_eq!(write("every.Names", &names).as_deref(), Ok(r#"{"a-b":1,"snakeAnd_Camel":2,"\"":3}"#));
    let extended = wire("every.Extended", "own: 1 [every.second]: \"a\" [every.first]: [2] [every.own]: 9");
    let json = write("every.Extended", &extended);
    assert_eq!(
        json.as_deref(),
        Ok(r#"{"first":[2],"second":"a","own":1}"#),
        "one that hides behind a field is left out"
    );
}

#[test]
fn required_fields_have_to_be_there() {
    let missing = |bytes: &[u8]| match write("every.Required", bytes) {
        Err(JsonError::MissingRequired { field }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(&[]), "every.Required.number");
    assert_eq!(missing(&[0x30, 0]), "every.Required.number");
    assert_eq!(missing(&[8, 1]), "every.Required.color");
    assert_eq!(missing(&[8, 1, 0x30, 2]), "every.Required.color", "a number that the enum does not have");
    assert_eq!(missing(&[8, 1, 0x30, 0, 0x1a, 0]), "every.Required.number");
    assert_eq!(missing(&[8, 1, 0x30, 0, 0x22, 2, 8, 1]), "every.Required.color");
    assert_eq!(missing(&[8, 1, 0x30, 0, 0x2a, 2, 18, 0]), "every.Required.number");
    assert_eq!(
        write("every.Required", &[0x30, 1, 0x1a, 4, 8, 3, 0x30, 0, 8, 2]).as_deref(),
        Ok(r#"{"number":2,"inner":{"number":3,"color":"RED","by_name":{}},"color":"GREEN","by_name":{}}"#)
    );
}

#[test]
fn implicit_zeros_are_not_there() {
    let zeros = [8, 0, 16, 0, 0x1a, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0x28, 0, 0x4a, 0, 0x60, 0];
    let json = write("every3.Every3", &zeros).unwrap();
    assert_eq!(json, r#"{"maybe":0,"by_name":{},"by_color":{}}"#);
    let minus_zero = [0x21, 0, 0, 0, 0, 0, 0, 0, 0x80];
    assert_eq!(write("every3.Every3", &minus_zero).unwrap(), r#"{"double":-0.0,"by_name":{},"by_color":{}}"#);
    let open = [0x28, 7, 0x32, 2, 1, 9];
    assert_eq!(
        write("every3.Every3", &open).unwrap(),
        r#"{"color":7,"colors":["GREEN",9],"by_name":{},"by_color":{}}"#
    );
}

#[test]
fn fields_may_come_in_any_order_and_in_pieces() {
    let written = |bytes: &[u8]| strip_maps(&write("every.Every", bytes).unwrap());
    assert_eq!(
        written(&[0x68, 1, 8, 1, 8, 2, 0x20, 5, 8, 3]),
        r#"{"int32":3,"uint32":5,"bool":true}"#,
        "the last one counts"
    );
    // A list packed, not packed, and with others between.
    let list = [0xf8, 1, 1, 0xfa, 1, 2, 2, 3, 8, 9, 0xf8, 1, 4, 0xfa, 1, 0];
    assert_eq!(written(&list), r#"{"int32":9,"int32s":[1,2,3,4]}"#);
    assert_eq!(written(&[0x98, 2, 1, 0x9a, 2, 1, 0]), r#"{"bools":[true,false]}"#);
    assert_eq!(written(&[0xfa, 1, 0, 8, 1, 0xb2, 2, 1, 2]), r#"{"int32":1}"#, "lists with nothing in them");
    // A message in three pieces, the lists in which are joined.
    let pieces = [0x8a, 1, 4, 8, 1, 16, 2, 0x8a, 1, 5, 0xf8, 1, 7, 8, 5, 0x20, 6, 0x8a, 1, 3, 0xf8, 1, 8];
    assert_eq!(written(&pieces), r#"{"uint32":6,"every":{"int32":5,"sint32":1,"int32s":[7,8]}}"#);
    // A group in two pieces.
    let group = [0x93, 1, 8, 1, 0x94, 1, 0x93, 1, 18, 2, 8, 4, 0x94, 1];
    assert_eq!(written(&group), r#"{"group":{"a":1,"every":{"int32":4}}}"#);
}

#[test]
fn of_a_oneof_the_last_member_is_there() {
    let written = |bytes: &[u8]| strip_maps(&write("every.Every", bytes).unwrap());
    assert_eq!(written(&[0xe8, 3, 1, 0xf2, 3, 1, b'a']), r#"{"one_text":"a"}"#);
    assert_eq!(written(&[0xf2, 3, 1, b'a', 8, 5, 0xe8, 3, 1]), r#"{"int32":5,"one_number":1}"#);
    // What was merged before another member came is gone.
    let message = [0xfa, 3, 2, 8, 1, 0xe8, 3, 1, 0xfa, 3, 2, 16, 2, 0xfa, 3, 2, 32, 3];
    assert_eq!(written(&message), r#"{"one_every":{"sint32":1,"uint32":3}}"#);
}

#[test]
fn unknown_fields_types_and_values_are_dropped() {
    let written = |bytes: &[u8]| strip_maps(&write("every.Every", bytes).unwrap());
    assert_eq!(written(&[0xc8, 3, 1, 8, 1, 0x92, 0x27, 1, b'x', 0xbb, 5, 8, 1, 0xbc, 5]), r#"{"int32":1}"#);
    assert_eq!(written(&[0x0a, 1, 1, 0x0d, 1, 0, 0, 0]), "{}", "int32 as bytes and as fixed");
    assert_eq!(written(&[0x80, 1, 2]), "{}", "a number that the enum does not have");
    assert_eq!(
        written(&[0x80, 1, 1, 0x80, 1, 2]),
        r#"{"color":"GREEN"}"#,
        "it does not replace one that it has"
    );
    assert_eq!(written(&[0xb2, 2, 3, 0, 2, 1, 0xb0, 2, 9]), r#"{"colors":["RED","GREEN"]}"#);
}

#[test]
fn malformed_bytes_are_errors() {
    let wrong: [&[u8]; 14] = [
        &[8],
        &[8, 0x80],
        &[8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
        &[0x72, 2, b'a'],
        &[0x72, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[0, 0],
        &[0x0e, 0],
        &[0x0f, 0],
        &[0x0c],
        &[0x93, 1, 8, 1],
        &[0x93, 1, 8, 1, 0x9c, 1],
        &[0x61, 1, 2],
        &[0x8a, 1, 1, 8],
        &[0x9a, 2, 1, 0x80],
    ];
    for bytes in wrong {
        assert!(matches!(write("every.Every", bytes), Err(JsonError::Wire { .. })), "{bytes:?}");
    }
    let field = || JsonError::NotUtf8 { field: "every.Every.string".into() };
    assert_eq!(write("every.Every", &[0x72, 1, 0xff]), Err(field()));
    assert_eq!(write("every.Every", &[0x8a, 1, 3, 0x72, 1, 0xff]), Err(field()));
}

#[test]
fn options_change_what_is_written() {
    let empty_array = options(|options| options.jsonify_empty_array = true);
    assert_eq!(write_with(&empty_array, "every.List", &[]).unwrap(), r#"{"items":[]}"#);
    assert_eq!(
        write_with(&empty_array, "every.MessageList", &[10, 0]).unwrap(),
        r#"{"lists":[{"items":[]}]}"#
    );
    let numbers = options(|options| options.enum_as_number = true);
    assert_eq!(
        write_with(&numbers, "every.Required", &[8, 1, 0x30, 3]).unwrap(),
        r#"{"number":1,"color":3,"by_name":{}}"#
    );
    let array = options(|options| options.single_repeated_to_array = true);
    assert_eq!(write_with(&array, "every.List", &[8, 1, 8, 2]).unwrap(), "[1,2]");
    assert_eq!(write_with(&array, "every.List", &[]).unwrap(), "[]");
    assert_eq!(
        write_with(&array, "every.MessageList", &[10, 2, 8, 1, 10, 0]).unwrap(),
        r#"[{"items":[1]},{}]"#
    );
    assert_eq!(write_with(&array, "every.MessageList", &[]).unwrap(), "[]");
    let plain = options(|options| options.bytes_to_base64 = false);
    let bytes = write_with(&plain, "every.Every", &[0x7a, 2, b'"', b'b']).unwrap();
    assert_eq!(strip_maps(&bytes), r#"{"bytes":"\"b"}"#);
    assert!(write_with(&plain, "every.Every", &[0x7a, 1, 0xff]).is_err());
}

#[test]
fn defaults_are_written_on_demand() {
    let all = options(|options| options.always_print_primitive_fields = true);
    assert_eq!(
        write_with(&all, "every.Defaults", &[]).unwrap(),
        r#"{"number":-7,"text":"a\"b","color":"GREEN","double":"Infinity","bytes":"AQI=","plain":{"flag":false,"needed":0}}"#
    );
    assert_eq!(
        write_with(&all, "every.Defaults", &[8, 0, 0x3a, 2, 8, 1, 0x48, 0]).unwrap(),
        r#"{"number":0,"text":"a\"b","color":"GREEN","double":"Infinity","bytes":"AQI=","again":{"number":1,"text":"a\"b","color":"GREEN","double":"Infinity","bytes":"AQI=","plain":{"flag":false,"needed":0}},"plain":{"flag":false,"needed":0},"a":0}"#
    );
    assert!(write_with(&all, "every.Plain", &[]).is_err(), "what is required at the top has to be there");
    assert!(write_with(&all, "every3.Every3", &[]).unwrap().starts_with(
        r#"{"number":0,"maybe":0,"text":"","double":0.0,"color":"RED","bytes":"","flag":false,"when":{"#
    ));
}

#[test]
fn pretty_text_has_a_line_for_each_member() {
    let pretty = options(|options| options.pretty = true);
    let text = "int32: 1 every { } everys { int32s: [1, 2] } numbers { key: \"k\" value: 1 }";
    let json = write_with(&pretty, "every.Every", &wire("every.Every", text)).unwrap();
    let expected = r#"{
    "int32": 1,
    "every": {
        "numbers": {},
        "messages": {},
        "by_color": {}
    },
    "everys": [
        {
            "int32s": [
                1,
                2
            ],
            "numbers": {},
            "messages": {},
            "by_color": {}
        }
    ],
    "numbers": {
        "k": 1
    },
    "messages": {},
    "by_color": {}
}"#;
    assert_eq!(json, expected);
    assert_eq!(write_with(&pretty, "every.List", &[]).unwrap(), "{}");
}
