//! JSON to protobuf: each row of protocols-http §18.2 and §18.3.

use rpc::json::{JsonError, JsonOptions, json_to_proto, json_to_proto_prefix};

use crate::schema::{SCHEMA, options, read, read_with, text};

/// Converts with what may be skipped, and gives the text of the message and the note.
fn lenient(message: &str, json: &str) -> (String, Option<String>) {
    let (wire, note) = json_to_proto(&SCHEMA, message, json.as_bytes(), &JsonOptions::default()).unwrap();
    (crate::schema::text_of(message, &wire), note)
}

/// Whether the value is read into the field; otherwise it is skipped, and an error when strict.
fn takes(field: &str, value: &str) -> bool {
    let json = format!("{{\"{field}\":{value}}}");
    let (text, note) = lenient("every.Every", &json);
    let strict = read_with(&options(|options| options.strict = true), "every.Every", &json);
    match note {
        None => assert!(strict.is_ok(), "{json}"),
        Some(note) => {
            assert!(
                note.starts_with(&format!("field every.Every.{field} was skipped, it has to be ")),
                "{note}"
            );
            assert_eq!(text, "", "{json}");
            assert!(matches!(strict, Err(JsonError::Mismatch { .. })), "{json}");
            return false;
        }
    }
    true
}

#[test]
fn integers_are_integral_and_in_range() {
    let table: [(&str, &[&str], &[&str]); 10] = [
        (
            "int32",
            &["0", "-0", "2147483647", "-2147483648"],
            &["2147483648", "-2147483649", "1.0", "1e2", "\"1\"", "true"],
        ),
        ("sint32", &["2147483647", "-2147483648"], &["2147483648", "-2147483649", "1.5", "[]", "{}"]),
        ("sfixed32", &["2147483647", "-2147483648"], &["2147483648", "-2147483649", "\"\""]),
        ("uint32", &["0", "-0", "4294967295"], &["4294967296", "-1", "1.0", "\"1\""]),
        ("fixed32", &["0", "4294967295"], &["4294967296", "-1"]),
        (
            "int64",
            &[
                "9223372036854775807",
                "-9223372036854775808",
                "\"-9223372036854775808\"",
                "\"007\"",
                "\"\\u0031\"",
            ],
            &[
                "9223372036854775808",
                "-9223372036854775809",
                "\"9223372036854775808\"",
                "\"\"",
                "\"-\"",
                "\"+1\"",
                "\"1.0\"",
                "\" 1\"",
                "1.0",
            ],
        ),
        ("sint64", &["9223372036854775807", "-9223372036854775808"], &["9223372036854775808"]),
        ("sfixed64", &["9223372036854775807", "-9223372036854775808"], &["9223372036854775808"]),
        (
            "uint64",
            &["18446744073709551615", "\"18446744073709551615\"", "-0", "\"-0\""],
            &["18446744073709551616", "-1", "\"-1\"", "\"18446744073709551616\""],
        ),
        ("fixed64", &["18446744073709551615"], &["18446744073709551616", "-1"]),
    ];
    for (field, taken, skipped) in table {
        for value in taken {
            assert!(takes(field, value), "{field} {value}");
        }
        for value in skipped {
            assert!(!takes(field, value), "{field} {value}");
        }
    }
    assert_eq!(text("every.Every", r#"{"int64":-9223372036854775808}"#), "int64:-9223372036854775808");
    assert_eq!(text("every.Every", r#"{"uint64":"18446744073709551615"}"#), "uint64:18446744073709551615");
    assert_eq!(text("every.Every", r#"{"sint32":-2147483648}"#), "sint32:-2147483648");
    assert_eq!(text("every.Every", r#"{"fixed32":4294967295}"#), "fixed32:4294967295");
}

#[test]
fn floats_are_numbers_or_three_names() {
    for field in ["float", "double"] {
        for value in [
            "0",
            "-0.0",
            "1",
            "1.5e3",
            "12345678901234567890123",
            "\"NaN\"",
            "\"nan\"",
            "\"INFINITY\"",
            "\"-infinity\"",
        ] {
            assert!(takes(field, value), "{field} {value}");
        }
        for value in ["1e999", "\"inf\"", "\"1.0\"", "\"\"", "true", "[1]"] {
            assert!(!takes(field, value), "{field} {value}");
        }
    }
    assert!(takes("double", "1e300") && !takes("float", "1e300"));
    let double = |value: f64| [&[0x61][..], &value.to_le_bytes()].concat();
    for (json, value) in [
        ("9007199254740993", 9007199254740992.0), // 2^53 + 1 is rounded
        ("-9007199254740992", -9007199254740992.0),
        ("-0", -0.0),
        ("5e-324", 5e-324),
        ("0.1", 0.1),
        ("\"-Infinity\"", f64::NEG_INFINITY),
    ] {
        assert_eq!(read("every.Every", &format!("{{\"double\":{json}}}")), Ok(double(value)), "{json}");
    }
    // Rounded once: by way of a double this would be one less.
    let float = read("every.Every", r#"{"float":16777217.0000001}"#).unwrap();
    assert_eq!(float[1..], 16_777_218_f32.to_le_bytes());
}

#[test]
fn bools_are_true_or_false() {
    assert!(takes("bool", "true") && takes("bool", "false"));
    for value in ["0", "1", "\"true\"", "{}", "\"\""] {
        assert!(!takes("bool", value), "{value}");
    }
    assert_eq!(read("every.Every", r#"{"bool":false}"#), Ok(vec![0x68, 0]));
}

#[test]
fn strings_are_unescaped() {
    assert!(takes("string", "\"\"") && !takes("string", "1") && !takes("string", "{\"a\":[1]}"));
    let string =
        |json: &str| read("every.Every", &format!("{{\"string\":{json}}}")).map(|wire| wire[2..].to_vec());
    assert_eq!(string(r#""a\"b\\c\/\b\f\n\r\t""#), Ok(b"a\"b\\c/\x08\x0c\n\r\t".to_vec()));
    assert_eq!(string(r#""\u0041\u00e9\u20ac\uD83D\ude00é€😀""#), Ok("Aé€😀é€😀".into()));
    assert_eq!(string(r#""\u0000""#), Ok(vec![0]));
    for wrong in [r#""\ud83d""#, r#""\ud83dx""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\u12""#, r#""\q""#] {
        assert!(matches!(string(wrong), Err(JsonError::Syntax { .. })), "{wrong}");
        // In what is passed over, too.
        assert!(
            matches!(read("every.Every", &format!("{{\"x\":{wrong}}}")), Err(JsonError::Syntax { .. })),
            "{wrong}"
        );
    }
    let not_utf8 = json_to_proto(&SCHEMA, "every.Every", b"{\"string\":\"\xff\"}", &JsonOptions::default());
    assert!(matches!(not_utf8, Err(JsonError::Syntax { offset: 11, .. })));
    let long = "x".repeat(300);
    assert_eq!(text("every.Every", &format!("{{\"string\":\"{long}\"}}")), format!("string:\"{long}\""));
}

#[test]
fn bytes_are_base64_or_text() {
    assert_eq!(read("every.Every", r#"{"bytes":"//79/A=="}"#), Ok(b"\x7a\x04\xff\xfe\xfd\xfc".to_vec()));
    assert_eq!(
        read("every.Every", r#"{"bytes":"\u002f/79\/A=="}"#),
        Ok(b"\x7a\x04\xff\xfe\xfd\xfc".to_vec())
    );
    assert_eq!(read("every.Every", r#"{"bytes":""}"#), Ok(b"\x7a\x00".to_vec()));
    for wrong in ["\"a\"", "\"!!!!\"", "\"//79_A==\"", "\"//79/A\""] {
        let read = read("every.Every", &format!("{{\"bytes\":{wrong}}}"));
        assert!(matches!(read, Err(JsonError::Mismatch { .. })), "{wrong}");
    }
    assert!(!takes("bytes", "1"));
    let plain = options(|options| options.bytes_to_base64 = false);
    assert_eq!(read_with(&plain, "every.Every", r#"{"bytes":"a!\n"}"#), Ok(b"\x7a\x03a!\n".to_vec()));
}

#[test]
fn enums_are_names_or_numbers() {
    for (value, expected) in
        [("\"GREEN\"", "GREEN"), ("3", "ALSO_GREEN"), ("-5", "NEGATIVE"), ("\"NEGATIVE\"", "NEGATIVE")]
    {
        assert_eq!(text("every.Every", &format!("{{\"color\":{value}}}")), format!("color:{expected}"));
    }
    for value in ["\"green\"", "\"BLUE\"", "2", "1.0", "true", "4294967297"] {
        assert!(!takes("color", value), "{value}");
    }
    assert!(read("every.Every", r#"{"colors":["RED",2]}"#).is_err(), "an unknown one in a list");
    // Open enums have all numbers.
    assert_eq!(
        text("every3.Every3", r#"{"color":7,"colors":[1,"RED",-1]}"#),
        "color:7,colors:[GREEN,RED,-1]"
    );
}

#[test]
fn messages_and_groups_are_objects() {
    assert_eq!(
        text("every.Every", r#"{"every":{"every":{"int32":1}},"group":{"a":2,"every":{}}}"#),
        "every{every{int32:1}},Group{a:2,every{}}"
    );
    for value in ["1", "\"\"", "[]", "true"] {
        for field in ["every", "group"] {
            let error = read("every.Every", &format!("{{\"{field}\":{value}}}")).unwrap_err();
            let expected = format!("field every.Every.{field} has to be an object");
            assert_eq!(error.to_string(), expected);
        }
    }
    // Lengths that need one byte, and more, at several depths.
    for len in [0, 100, 126, 127, 128, 20_000] {
        let inner = "y".repeat(len);
        let json = format!(
            r#"{{"every":{{"every":{{"string":"{inner}"}},"int32":1}},"everys":[{{"string":"{inner}"}},{{}}]}}"#
        );
        let expected =
            format!("every{{int32:1,every{{string:\"{inner}\"}}}},everys:[{{string:\"{inner}\"}},{{}}]");
        assert_eq!(text("every.Every", &json), expected);
    }
}

#[test]
fn repeated_fields_are_arrays() {
    assert_eq!(
        text(
            "every.Every",
            r#"{"int32s":[1,-2],"sint64s":[-1,"2"],"fixed32s":[],"doubles":[1,"NaN"],"bools":[true],"strings":["a","\n"],"bytess":["YQ=="],"colors":["GREEN",3],"everys":[{},{"int32":1}],"groups":[{"b":"c"}]}"#
        ),
        "int32s:[1,-2],sint64s:[-1,2],doubles:[1.0,NaN],bools:[true],strings:[\"a\",\"\\n\"],bytess:[\"a\"],colors:[GREEN,ALSO_GREEN],everys:[{},{int32:1}],Groups:[{b:\"c\"}]"
    );
    assert_eq!(read("every.Every", r#"{"fixed32s":[ ],"int32s":[],"everys":[]}"#), Ok(vec![]));
    // Packed and not, by what the field says.
    assert_eq!(read("every.Every", r#"{"bools":[true,false]}"#), Ok(vec![0x9a, 2, 2, 1, 0]));
    assert_eq!(read("every.Every", r#"{"int32s":[1,2]}"#), Ok(vec![0xf8, 1, 1, 0xf8, 1, 2]));
    for wrong in [
        r#"{"int32s":1}"#,
        r#"{"int32s":{}}"#,
        r#"{"int32s":[1,"2"]}"#,
        r#"{"int32s":[null]}"#,
        r#"{"int32s":[1.0]}"#,
        r#"{"strings":[1]}"#,
        r#"{"bytess":["?"]}"#,
        r#"{"everys":{}}"#,
        r#"{"everys":[1]}"#,
        r#"{"everys":[null]}"#,
        r#"{"everys":[[]]}"#,
        r#"{"groups":[{"b":"c"},3]}"#,
    ] {
        assert!(matches!(read("every.Every", wrong), Err(JsonError::Mismatch { .. })), "{wrong}");
    }
}

#[test]
fn maps_are_objects_or_arrays_of_entries() {
    // As bytes: a map has no order in the text format.
    let entries = [&[0x9a, 3, 5, 10, 1, b'a', 16, 1][..], &[0x9a, 3, 4, 10, 0, 16, 2]].concat();
    assert_eq!(read("every.Every", r#"{"numbers":{"a":1,"":2}}"#), Ok(entries.clone()));
    let array = r#"{"numbers":[{"key":"a","value":1},{"key":"","value":2}]}"#;
    assert_eq!(read("every.Every", array), Ok(entries));
    assert_eq!(text("every.Every", r#"{"numbers":[{"value":1}]}"#), "numbers:[{key:\"\",value:1}]");
    assert_eq!(
        text("every.Every", r#"{"messages":{"\u0061":{"messages":{"b":{}}}},"by_color":{"x":"GREEN"}}"#),
        "messages:[{key:\"a\",value{messages:[{key:\"b\",value{}}]}}],by_color:[{key:\"x\",value:GREEN}]"
    );
    let long = "z".repeat(200);
    assert_eq!(
        text("every.Every", &format!(r#"{{"messages":{{"{long}":{{"string":"{long}"}}}}}}"#)),
        format!("messages:[{{key:\"{long}\",value{{string:\"{long}\"}}}}]")
    );
    assert_eq!(read("every.Every", r#"{"numbers":{}}"#), Ok(vec![]));
    assert_eq!(lenient("every.Every", r#"{"numbers":{"a":null}}"#).0, "numbers:[{key:\"a\",value:0}]");
    let (text_of, note) = lenient("every.Every", r#"{"numbers":{"a":"x"}}"#);
    assert_eq!(text_of, "numbers:[{key:\"a\",value:0}]");
    assert!(note.unwrap().contains("every.Every.NumbersEntry.value"));
    for wrong in
        [r#"{"numbers":1}"#, r#"{"numbers":[1]}"#, r#"{"messages":{"a":1}}"#, r#"{"by_number":{"1":"a"}}"#]
    {
        assert!(matches!(read("every.Every", wrong), Err(JsonError::Mismatch { .. })), "{wrong}");
    }
    assert!(matches!(read("every.Every", r#"{"numbers":{"a":1,}}"#), Err(JsonError::Syntax { .. })));
    // With keys of another type, only the array.
    assert_eq!(
        text("every.Every", r#"{"by_number":[{"key":-1,"value":"a"}]}"#),
        "by_number:[{key:-1,value:\"a\"}]"
    );
}

#[test]
fn what_looks_like_a_map_is_one() {
    assert_eq!(
        text(
            "every.Shapes",
            r#"{"pairs":{"a":1},"message_pairs":{"b":{"needed":2}},"no_pairs":[{"key":"c"}]}"#
        ),
        "pairs:[{key:\"a\",value:1}],no_pairs:[{key:\"c\"}],message_pairs:[{key:\"b\",value{needed:2}}]"
    );
    assert!(read("every.Shapes", r#"{"no_pairs":{"a":1}}"#).is_err());
    let missing = read("every.Shapes", r#"{"pairs":[{"value":1}]}"#).unwrap_err();
    assert_eq!(missing, JsonError::MissingRequired { field: "every.Pair.key".into() });
}

#[test]
fn keys_are_names_as_written() {
    assert_eq!(
        text("every.Names", r#"{"a-b":1,"snakeAnd_Camel":2,"\"":3}"#),
        "a_Z045_b:1,snakeAnd_Camel:2,_Z034_:3"
    );
    assert_eq!(read("every.Names", r#"{"other":2,"a_Z045_b":1,"Snake":0,"":0}"#), Ok(vec![]));
    assert_eq!(text("every.Names", r#"{"\u0061\u002db":1}"#), "a_Z045_b:1");
    assert_eq!(read("every.Every", r#"{"far":1}"#), Ok(vec![0x80, 0xe2, 9, 1]));
}

#[test]
fn extensions_go_by_their_simple_names() {
    assert_eq!(
        read("every.Extended", r#"{"second":"a","own":1,"first":[2]}"#),
        Ok(vec![0xc2, 7, 1, b'a', 8, 1, 0xf0, 6, 2])
    );
}

#[test]
fn required_fields_are_named_when_missing() {
    let missing = |json: &str| match read("every.Required", json) {
        Err(JsonError::MissingRequired { field }) => field,
        other => panic!("{json}: {other:?}"),
    };
    assert_eq!(missing("{}"), "every.Required.number");
    assert_eq!(missing(r#"{"number":1}"#), "every.Required.color");
    assert_eq!(missing(r#"{"number":null,"color":0}"#), "every.Required.number");
    let full = r#"{"number":1,"color":"RED"}"#;
    assert_eq!(read("every.Required", full), Ok(vec![8, 1, 0x30, 0]));
    let with = |member: &str| format!(r#"{{"number":1,"color":"RED",{member}}}"#);
    assert_eq!(missing(&with(r#""inner":{"color":0}"#)), "every.Required.number");
    assert_eq!(missing(&with(r#""list":[{"number":1}]"#)), "every.Required.color");
    assert_eq!(missing(&with(r#""by_name":{"a":{}}"#)), "every.Required.number");
    assert!(
        read("every.Required", &with(&format!(r#""inner":{full},"list":[{full}],"by_name":{{"a":{full}}}"#)))
            .is_ok()
    );
    for wrong in [r#"{"number":"1","color":0}"#, r#"{"number":1,"color":"BLUE"}"#] {
        assert!(matches!(read("every.Required", wrong), Err(JsonError::Mismatch { .. })), "{wrong}");
    }
}

#[test]
fn null_is_absent_and_the_first_of_a_name_counts() {
    assert_eq!(
        read("every.Every", r#"{"int32":null,"every":null,"int32s":null,"numbers":null,"x":null}"#),
        Ok(vec![])
    );
    assert_eq!(
        text(
            "every.Every",
            r#"{"int32":1,"int32":2,"int32s":[1],"int32s":[2],"every":{"int32":1},"every":{}}"#
        ),
        "int32:1,every{int32:1},int32s:[1]"
    );
    assert_eq!(read("every.Every", r#"{"int32":null,"int32":2}"#), Ok(vec![]));
    assert_eq!(
        read("every.Every", r#"{"int32":nul}"#).unwrap_err().to_string(),
        "invalid JSON at byte 9: neither a value nor a literal"
    );
}

#[test]
fn of_a_oneof_one_member_may_be_there() {
    assert_eq!(text("every.Every", r#"{"one_number":1}"#), "one_number:1");
    assert_eq!(text("every.Every", r#"{"one_number":null,"one_text":"a"}"#), "one_text:\"a\"");
    let twice = read("every.Every", r#"{"one_number":1,"one_every":{}}"#).unwrap_err();
    assert_eq!(twice, JsonError::OneofTwice { field: "every.Every.one_every".into() });
    let (text, note) = lenient("every.Every", r#"{"one_number":"x","one_text":"a"}"#);
    assert!(text == "one_text:\"a\"" && note.is_some(), "one that was skipped is not there");
    // A oneof of proto3's `optional` is none.
    assert_eq!(text3(r#"{"maybe":0,"number":0}"#), [16, 0, 8, 0]);
}

fn text3(json: &str) -> Vec<u8> {
    read("every3.Every3", json).unwrap()
}

#[test]
fn unknown_keys_are_passed_over() {
    let json = r#" { "x" : [ { "y" : [ ] , "z" : "\"]}" } , 1e5 , true ] , "int32" : 7 , "w" : { } } "#;
    assert_eq!(read("every.Every", json), Ok(vec![8, 7]));
    for wrong in [r#"{"x":[1,]}"#, r#"{"x":{"a" 1}}"#, r#"{"x":01}"#, r#"{"x"}"#, r#"{"x":}"#, r#"{x:1}"#] {
        assert!(matches!(read("every.Every", wrong), Err(JsonError::Syntax { .. })), "{wrong}");
    }
}

#[test]
fn notes_name_what_was_skipped_and_stay_short() {
    let (text, note) = lenient("every.Every", r#"{"int32":"a","bool":1,"string":"kept"}"#);
    assert_eq!(text, "string:\"kept\"");
    assert_eq!(
        note.unwrap(),
        "field every.Every.int32 was skipped, it has to be an integer of 32 bits; \
         field every.Every.bool was skipped, it has to be true or false"
    );
    let many = format!(r#"{{"everys":[{}{{}}]}}"#, r#"{"int32":"a"},"#.repeat(1000));
    assert!(lenient("every.Every", &many).1.unwrap().len() < 2 * rpc::json::NOTE_MAX);
}

#[test]
fn the_top_is_an_object_unless_a_list_is_asked_for() {
    for wrong in ["1", "\"a\"", "[]", "null", "true"] {
        assert!(matches!(read("every.List", wrong), Err(JsonError::Mismatch { .. })), "{wrong}");
    }
    for wrong in ["", " ", "nul", "x", "{", "{}}", "{} {}", "{},", "{}x", "//\n{}", "{}//", "\u{feff}{}"] {
        assert!(matches!(read("every.List", wrong), Err(JsonError::Syntax { .. })), "{wrong}");
    }
    let array = options(|options| options.single_repeated_to_array = true);
    assert_eq!(read_with(&array, "every.List", " [1,2] "), Ok(vec![8, 1, 8, 2]));
    assert_eq!(read_with(&array, "every.List", r#"{"items":[1]}"#), Ok(vec![8, 1]));
    assert_eq!(read_with(&array, "every.MessageList", r#"[{"items":[1]},{}]"#), Ok(vec![10, 2, 8, 1, 10, 0]));
    assert!(read_with(&array, "every.MessageList", "[[1]]").is_err(), "only at the top");
    assert!(read_with(&array, "every.Every", "[]").is_err(), "only if it is the only field");
}

#[test]
fn a_stream_of_values_is_read_one_by_one() {
    let mut rest = r#" {"int32":1}{"int32":2} {"#;
    for expected in [[8, 1], [8, 2]] {
        let prefix =
            json_to_proto_prefix(&SCHEMA, "every.Every", rest.as_bytes(), &JsonOptions::default()).unwrap();
        assert_eq!(prefix.wire, expected);
        rest = &rest[prefix.consumed..];
    }
    assert_eq!(rest, " {");
    assert!(json_to_proto_prefix(&SCHEMA, "every.Every", rest.as_bytes(), &JsonOptions::default()).is_err());
}

#[test]
fn what_is_not_known_is_told() {
    let error = read("every.Nothing", "{}").unwrap_err();
    assert_eq!(error.to_string(), "no descriptor of message every.Nothing");
    let none = json_to_proto(&rpc::Schema::NONE, "a.B", b"{}", &JsonOptions::default()).unwrap_err();
    assert_eq!(none.to_string(), "no descriptor of message a.B: no descriptors were given");
}
