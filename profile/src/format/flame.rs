//! The tree of calls as JSON; what it looks like is told at `Profile::to_flame_json`.

use std::fmt::Write;

use crate::profile::{Profile, Value};
use crate::symbol::Symbols;
use crate::tree::Node;

pub(super) fn write(profile: &Profile, symbols: &Symbols, value: Value) -> String {
    let root = Node::root(profile, symbols, value);
    let unit = profile.value_types()[value.index()].unit;
    // Writing to a string does not fail, here and below.
    let mut json = String::new();
    let _ = write!(
        json,
        "{{\"kind\":\"{}\",\"unit\":\"{unit}\",\"total\":{},\"root\":",
        profile.kind(),
        root.value
    );
    write_node(&mut json, &root);
    json.push('}');
    json
}

/// As deep as the tree.
fn write_node(json: &mut String, node: &Node) {
    json.push_str("{\"name\":");
    write_text(json, &node.name);
    let _ = write!(json, ",\"value\":{},\"self\":{},\"children\":[", node.value, node.own);
    for (number, child) in node.children.iter().enumerate() {
        if number > 0 {
            json.push(',');
        }
        write_node(json, child);
    }
    json.push_str("]}");
}

/// A JSON string (RFC 8259 §7) that can neither end a script element nor a line of a script.
fn write_text(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_string_or_the_script() {
        let mut json = String::new();
        write_text(&mut json, "a\"b\\c</script>&\n\u{2028}é");
        assert_eq!(json, "\"a\\\"b\\\\c\\u003c/script\\u003e\\u0026\\u000a\\u2028é\"");
    }
}
