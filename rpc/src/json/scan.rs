//! Cuts JSON text into values, strictly as RFC 8259 has it; knows nothing of messages.
//!
//! It keeps no stack of its own but bits, and never recurses: what is nested is passed over in a loop, so the depth of
//! a text costs one bit per level and no stack. The text has been found to be UTF-8 before.
//!
//! Our own, since a deserializer of serde calls itself once for each level, and a bthread may have 32 KiB of stack.

use super::error::JsonError;

/// A number as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// Where it stands.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) is_negative: bool,
    /// Without its sign, if it has neither fraction nor exponent and fits.
    pub(super) integer: Option<u64>,
}

/// A string between its quotes, as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) has_escapes: bool,
}

pub(super) struct Scanner<'j> {
    json: &'j [u8],
    pub(super) at: usize,
}

impl<'j> Scanner<'j> {
    /// # Errors
    /// Text that is not UTF-8.
    pub(super) fn new(json: &'j [u8]) -> Result<Self, JsonError> {
        match std::str::from_utf8(json) {
            Ok(_) => Ok(Scanner { json, at: 0 }),
            Err(error) => Err(JsonError::Syntax { offset: error.valid_up_to(), what: "not UTF-8" }),
        }
    }

    #[cold]
    pub(super) fn error<T>(&self, what: &'static str) -> Result<T, JsonError> {
        Err(JsonError::Syntax { offset: self.at, what })
    }

    /// The next byte behind spaces; 0, which no value starts with, at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        loop {
            match self.json.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return byte,
                None => return 0,
            }
        }
    }

    pub(super) fn slice(&self, start: usize, end: usize) -> &'j [u8] {
        &self.json[start..end]
    }

    /// Takes `byte`, behind spaces.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.peek() != byte {
            return self.error(what);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `word`, which starts right here.
    pub(super) fn literal(&mut self, word: &'static str) -> Result<(), JsonError> {
        if !self.json[self.at..].starts_with(word.as_bytes()) {
            return self.error("neither a value nor a literal");
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes a string, which starts right here with its quote.
    #[inline]
    pub(super) fn text(&mut self) -> Result<Text, JsonError> {
        let start = self.at + 1;
        let mut has_escapes = false;
        let mut at = start;
        loop {
            at += plain_len(&self.json[at..]);
            match self.json.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { start, end: at, has_escapes });
                }
                Some(b'\\') => {
                    has_escapes = true;
                    at += 2; // what is escaped is looked at when the text is wanted, or by `skip`
                }
                Some(_) => {
                    self.at = at;
                    return self.error("control character in a string");
                }
                None => {
                    self.at = self.json.len();
                    return self.error("string without its end");
                }
            }
            if at > self.json.len() {
                self.at = self.json.len();
                return self.error("string without its end");
            }
        }
    }

    /// Adds what `text` says to `out`.
    pub(super) fn unescape(&self, text: Text, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut at = text.start;
        while at < text.end {
            let rest = &self.json[at..text.end];
            let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            at += plain;
            if at < text.end {
                at = self.escape(at, text.end, out)?;
            }
        }
        Ok(())
    }

    /// Reads the escape at `at`; gives where it ends.
    fn escape(&self, at: usize, end: usize, out: &mut Vec<u8>) -> Result<usize, JsonError> {
        let plain = match self.json[at + 1] {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            other @ (b'"' | b'\\' | b'/') => other,
            b'u' => return self.unicode_escape(at, end, out),
            _ => return Err(JsonError::Syntax { offset: at, what: "unknown escape" }),
        };
        out.push(plain);
        Ok(at + 2)
    }

    fn unicode_escape(&self, at: usize, end: usize, out: &mut Vec<u8>) -> Result<usize, JsonError> {
        let error = |what| Err(JsonError::Syntax { offset: at, what });
        let unit = |at: usize| {
            let digits = self.json[..end].get(at..at + 6)?.strip_prefix(b"\\u")?;
            digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
        };
        let (code, len) = match unit(at) {
            None => return error("bad \\u escape"),
            Some(high @ 0xd800..=0xdbff) => match unit(at + 6) {
                Some(low @ 0xdc00..=0xdfff) => (0x1_0000 + ((high & 0x3ff) << 10) + (low & 0x3ff), 12),
                _ => return error("half of a surrogate pair"),
            },
            Some(code) => (code, 6),
        };
        let Some(character) = char::from_u32(code) else {
            return error("half of a surrogate pair");
        };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(at + len)
    }

    /// Takes a number, which starts right here.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number, JsonError> {
        let start = self.at;
        let is_negative = self.json.get(start) == Some(&b'-');
        let digits_start = start + usize::from(is_negative);
        let mut at = digits_start;
        let mut integer = Some(0_u64);
        while let Some(digit @ b'0'..=b'9') = self.json.get(at) {
            let digit = u64::from(digit - b'0');
            integer = integer.and_then(|value| value.checked_mul(10)?.checked_add(digit));
            at += 1;
        }
        let digits = at - digits_start;
        if digits == 0 || (digits > 1 && self.json[digits_start] == b'0') {
            return self.error("bad number");
        }
        if self.json.get(at) == Some(&b'.') {
            integer = None;
            at = self.digits(at + 1)?;
        }
        if let Some(b'e' | b'E') = self.json.get(at) {
            integer = None;
            let sign = matches!(self.json.get(at + 1), Some(b'+' | b'-'));
            at = self.digits(at + 1 + usize::from(sign))?;
        }
        self.at = at;
        Ok(Number { start, end: at, is_negative, integer })
    }

    /// Passes over digits from `start`, of which there has to be one.
    fn digits(&self, start: usize) -> Result<usize, JsonError> {
        let len =
            self.json[start.min(self.json.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len == 0 { self.error("bad number") } else { Ok(start + len) }
    }

    /// Passes over a value and all that is in it, behind spaces. `scratch` is used and left empty.
    pub(super) fn skip(&mut self, scratch: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut open = Bits::default();
        loop {
            match self.peek() {
                b'{' => {
                    self.at += 1;
                    if self.peek() == b'}' {
                        self.at += 1;
                    } else {
                        open.push(true);
                        self.skip_key(scratch)?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if self.peek() == b']' {
                        self.at += 1;
                    } else {
                        open.push(false);
                        continue;
                    }
                }
                _ => self.skip_plain(scratch)?,
            }
            // A value has ended: so may have what it is in.
            loop {
                let Some(is_object) = open.last() else {
                    return Ok(());
                };
                match self.peek() {
                    b',' => {
                        self.at += 1;
                        if is_object {
                            self.skip_key(scratch)?;
                        }
                        break;
                    }
                    b'}' if is_object => self.at += 1,
                    b']' if !is_object => self.at += 1,
                    _ => return self.error("a comma or an end is missing"),
                }
                open.pop();
            }
        }
    }

    fn skip_key(&mut self, scratch: &mut Vec<u8>) -> Result<(), JsonError> {
        if self.peek() != b'"' {
            return self.error("a key is missing");
        }
        self.skip_plain(scratch)?;
        self.expect(b':', "a colon is missing")
    }

    /// Passes over a value that has nothing in it.
    fn skip_plain(&mut self, scratch: &mut Vec<u8>) -> Result<(), JsonError> {
        match self.peek() {
            b'"' => {
                let text = self.text()?;
                if text.has_escapes {
                    self.unescape(text, scratch)?;
                    scratch.clear();
                }
                Ok(())
            }
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.error("a value is missing"),
        }
    }
}

/// How many bytes at the start stand for themselves in a string.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    const STEP: usize = 16;
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<STEP>() {
        // No early end inside of a chunk: this becomes a few vector instructions.
        if chunk.iter().fold(false, |found, byte| found | is_special(*byte)) {
            break;
        }
        at += STEP;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

/// A stack of bits.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    /// The lowest bit is the last one; the highest that is set stands above the first.
    top: u64,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.top == 0 {
            self.top = 1;
        }
        if self.top >> 63 == 1 {
            self.words.push(self.top);
            self.top = 1;
        }
        self.top = self.top << 1 | u64::from(bit);
    }

    fn last(&self) -> Option<bool> {
        (self.top > 1).then_some(self.top & 1 == 1)
    }

    fn pop(&mut self) {
        self.top >>= 1;
        if self.top == 1
            && let Some(word) = self.words.pop()
        {
            self.top = word;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(json: &str) -> Result<usize, JsonError> {
        let mut scanner = Scanner::new(json.as_bytes())?;
        let mut scratch = Vec::new();
        scanner.skip(&mut scratch)?;
        assert!(scratch.is_empty());
        Ok(scanner.at)
    }

    #[test]
    fn values_are_passed_over_whole() {
        let values = [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12.50e+3",
            "1E5",
            "99999999999999999999999",
            "\"\"",
            r#""a\"b\\\/\b\f\n\r\té😀""#,
            "[]",
            "{}",
            "[ ]",
            "{ }",
            r#"[1,[2,{"a":[]}],{}]"#,
            r#"{"a":{"b":[{"c":null},[[]]]},"d":"e"}"#,
        ];
        for value in values {
            assert_eq!(skip(value), Ok(value.len()), "{value}");
            assert_eq!(skip(&format!(" \t\r\n{value} ,")), Ok(value.len() + 4), "{value}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let wrong = [
            "",
            " ",
            "nul",
            "True",
            "NaN",
            "Infinity",
            "-",
            "+1",
            "01",
            "-01",
            ".5",
            "1.",
            "1e",
            "1e+",
            "--1",
            "'a'",
            "\"",
            "\"a",
            "\"\\\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\u0041\"",
            "\"\\ud800\\ud800\"",
            "\"a\nb\"",
            "\"\0\"",
            "[",
            "{",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\":1,}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{1:1}",
            "{\"a\" 1}",
            "[1}",
            "{\"a\":1]",
            "}",
            "]",
            "// c\n1",
            "/**/1",
            "[1,,2]",
        ];
        for text in wrong {
            assert!(skip(text).is_err(), "{text}");
        }
        let not_utf8 = Scanner::new(b"\"\xff\"").err();
        assert_eq!(not_utf8, Some(JsonError::Syntax { offset: 1, what: "not UTF-8" }));
    }

    #[test]
    fn depth_costs_bits() {
        for depth in [1, 62, 63, 64, 65, 127, 128, 10_000] {
            let lists = "[".repeat(depth) + &"]".repeat(depth);
            assert_eq!(skip(&lists), Ok(lists.len()), "{depth}");
            let objects = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
            assert_eq!(skip(&objects), Ok(objects.len()), "{depth}");
            let mixed = "[{\"a\":".repeat(depth) + "1" + &"}]".repeat(depth);
            assert_eq!(skip(&mixed), Ok(mixed.len()), "{depth}");
            assert!(skip(&("[{\"a\":".repeat(depth) + "1" + &"]}".repeat(depth))).is_err(), "{depth}");
        }
    }

    #[test]
    fn numbers_are_kept_whole() {
        let number = |text: &str| Scanner::new(text.as_bytes()).unwrap().number().unwrap();
        assert_eq!(number("18446744073709551615").integer, Some(u64::MAX));
        assert_eq!(number("18446744073709551616").integer, None);
        assert_eq!(number("1.0").integer, None);
        assert_eq!(number("1e2").integer, None);
        let minus = number("-17 ");
        assert_eq!((minus.is_negative, minus.integer, minus.end), (true, Some(17), 3));
    }

    #[test]
    fn plain_bytes_are_counted_over_chunks() {
        for len in 0..70 {
            for special in ["\"", "\\", "\n", "\0"] {
                let text = "é".repeat(len) + special + "tail tail tail tail";
                assert_eq!(plain_len(text.as_bytes()), len * 2);
            }
            assert_eq!(plain_len(&vec![b'x'; len]), len);
        }
    }
}
