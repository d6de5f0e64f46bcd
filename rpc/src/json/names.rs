//! Keys of JSON that no `.proto` can spell: a character is written `_Zddd_` in the field's name there, with its code in
//! three decimal digits.

/// The key in JSON of the field `name`.
pub(super) fn key_of(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(start) = rest.find("_Z") {
        let Some(character) = rest.get(start..start + 6).and_then(decode) else {
            key.push_str(&rest[..start + 2]);
            rest = &rest[start + 2..];
            continue;
        };
        key.push_str(&rest[..start]);
        key.push(character);
        rest = &rest[start + 6..];
    }
    key + rest
}

/// The character that `_Zddd_` stands for; its code is at most that of ASCII, since a key is UTF-8.
fn decode(escape: &str) -> Option<char> {
    let digits = escape.strip_prefix("_Z")?.strip_suffix('_')?;
    let code: u8 = digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())??;
    code.is_ascii().then_some(char::from(code))
}

#[cfg(test)]
mod tests {
    use super::key_of;

    #[test]
    fn escapes_become_characters() {
        let keys = [
            ("plain", "plain"),
            ("a_Z045_b", "a-b"),
            ("_Z048_9", "09"),
            ("_Z064__Z064_", "@@"),
            ("_Z034_", "\""),
            ("a_Z45_b", "a_Z45_b"),
            ("a_Z045", "a_Z045"),
            ("a_Z2x5_", "a_Z2x5_"),
            ("a_Z200_", "a_Z200_"),
            ("a_Z999_", "a_Z999_"),
            ("_Z_Z045_", "_Z-"),
            ("", ""),
        ];
        for (name, key) in keys {
            assert_eq!(key_of(name), key, "{name}");
        }
    }
}
