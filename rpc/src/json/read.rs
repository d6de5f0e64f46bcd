//! From JSON text to protobuf bytes, in one pass over the text and without a tree between the two.
//!
//! It runs in a loop with a list of open messages and never recurses: stack use is the same at any depth. Values of
//! single fields are in `read_scalar`.

use smallvec::SmallVec;

use super::error::JsonError;
use super::options::JsonOptions;
use super::plan::{FieldPlan, Kind, MessagePlan, Plans, Shape};
use super::read_scalar::Taken;
use super::scan::Scanner;
use super::wire::Writer;
use super::{MAX_RECURSION_DEPTH, NOTE_MAX};

/// Something with values in it that is being read.
#[derive(Clone, Copy)]
struct Frame {
    inside: Inside,
    /// Nothing of it was read yet.
    is_first: bool,
    end: End,
}

#[derive(Clone, Copy)]
enum Inside {
    /// The members of a JSON object that is a message. `seen` is where its bits start.
    Message { message: u32, seen: u32, hint: u32 },
    /// The elements of an array of messages, the field `field` of `message`.
    List { message: u32, field: u32 },
    /// The members of an object that are entries of a map, the field `field` of `message`.
    Map { message: u32, field: u32 },
}

/// What is to be written behind something that was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Nothing,
    /// The length in front of a message.
    Length,
    /// The lengths of a message and of the entry that it is the value of.
    Lengths,
    /// The end tag of the group in this field of this message.
    Group {
        message: u32,
        field: u32,
    },
    /// The same, and the length of the entry that it is the value of.
    GroupInEntry {
        message: u32,
        field: u32,
    },
}

pub(super) struct ReadJson<'a> {
    pub(super) plans: &'a Plans,
    pub(super) options: &'a JsonOptions,
    pub(super) scanner: Scanner<'a>,
    pub(super) out: Writer,
    frames: SmallVec<[Frame; 4]>,
    /// A bit for each field of the open messages, and behind those one for each of their oneofs.
    seen: SmallVec<[u64; 4]>,
    depth: u32,
    /// For text with escapes; empty between uses.
    pub(super) scratch: Vec<u8>,
    /// For base64; empty between uses.
    pub(super) decoded: Vec<u8>,
    note: Option<String>,
}

impl<'a> ReadJson<'a> {
    pub(super) fn new(
        plans: &'a Plans,
        options: &'a JsonOptions,
        json: &'a [u8],
    ) -> Result<ReadJson<'a>, JsonError> {
        Ok(ReadJson {
            plans,
            options,
            scanner: Scanner::new(json)?,
            // Short values rarely become longer, so this is mostly enough.
            out: Writer::with_capacity(json.len()),
            frames: SmallVec::new(),
            seen: SmallVec::new(),
            depth: 0,
            scratch: Vec::new(),
            decoded: Vec::new(),
            note: None,
        })
    }

    /// Reads one value as the message `message`.
    pub(super) fn value(&mut self, message: u32) -> Result<(), JsonError> {
        let plan = self.plans.message(message);
        match (self.scanner.peek(), plan.single_repeated) {
            (b'{', _) => {
                self.scanner.at += 1;
                self.enter(message, End::Nothing)?;
            }
            (b'[', Some(field)) if self.options.single_repeated_to_array => {
                self.deepen()?;
                let plan = self.plans.message(message).field(field);
                self.list(message, field, plan)?;
            }
            (0, _) => return self.scanner.error("a value is missing"),
            _ => {
                // Text that is no JSON at all is told as such.
                self.scanner.skip(&mut self.scratch)?;
                return Err(JsonError::Mismatch { field: plan.full_name.to_string(), expected: "an object" });
            }
        }
        while let Some(frame) = self.frames.last().copied() {
            match frame.inside {
                Inside::Message { message, seen, hint } => {
                    self.members(self.plans.message(message), message, seen, hint, frame.is_first)?;
                }
                Inside::List { message, field } => self.elements(message, field)?,
                Inside::Map { message, field } => self.entries(message, field)?,
            }
        }
        Ok(())
    }

    /// The bytes, the note, and where the value ended in the text.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Option<String>, usize), JsonError> {
        Ok((self.out.finish()?, self.note, self.scanner.at))
    }

    fn deepen(&mut self) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > MAX_RECURSION_DEPTH { Err(JsonError::TooDeep) } else { Ok(()) }
    }

    /// Goes into a message, whose `{` was read.
    fn enter(&mut self, message: u32, end: End) -> Result<(), JsonError> {
        self.deepen()?;
        let seen = self.seen.len();
        self.seen.resize(seen + words(self.plans.message(message)), 0);
        let inside = Inside::Message { message, seen: seen as u32, hint: 0 };
        self.frames.push(Frame { inside, is_first: true, end });
        Ok(())
    }

    /// Leaves what was gone into last, whose end was read.
    fn leave(&mut self) -> Result<(), JsonError> {
        let frame = self.frames.pop().expect("inside of something");
        if let Inside::Message { message, seen, .. } = frame.inside {
            let plan = self.plans.message(message);
            if let Some(missing) = plan.required.iter().find(|field| !self.is_seen(seen, **field)) {
                return Err(missing_required(plan.field(*missing)));
            }
            self.seen.truncate(seen as usize);
            self.depth -= 1;
        }
        match frame.end {
            End::Nothing => {}
            End::Length => self.out.close()?,
            End::Lengths => {
                self.out.close()?;
                self.out.close()?;
                self.depth -= 1;
            }
            End::Group { message, field } => {
                self.out.tag(&self.plans.message(message).field(field).second_tag);
            }
            End::GroupInEntry { message, field } => {
                self.out.tag(&self.plans.message(message).field(field).second_tag);
                self.out.close()?;
                self.depth -= 1;
            }
        }
        Ok(())
    }

    fn is_seen(&self, seen: u32, bit: u32) -> bool {
        self.seen[(seen + bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    /// Whether it was seen before; it is from now on.
    #[inline]
    fn see(&mut self, seen: u32, bit: u32) -> bool {
        let word = &mut self.seen[(seen + bit / 64) as usize];
        let was_seen = *word >> (bit % 64) & 1 == 1;
        *word |= 1 << (bit % 64);
        was_seen
    }

    fn unsee(&mut self, seen: u32, bit: u32) {
        self.seen[(seen + bit / 64) as usize] &= !(1 << (bit % 64));
    }

    /// Reads members of a message until its end, or until it has gone into one of them.
    fn members(
        &mut self,
        plan: &'a MessagePlan,
        message: u32,
        seen: u32,
        mut hint: u32,
        mut is_first: bool,
    ) -> Result<(), JsonError> {
        loop {
            if !self.next_member(is_first)? {
                return self.leave();
            }
            is_first = false;
            let key = self.scanner.text()?;
            let found = if key.has_escapes {
                self.scanner.unescape(key, &mut self.scratch)?;
                let found = plan.by_key(&self.scratch, hint);
                self.scratch.clear();
                found
            } else {
                plan.by_key(self.scanner.slice(key.start, key.end), hint)
            };
            self.scanner.expect(b':', "a colon is missing")?;
            let Some(index) = found else {
                self.scanner.skip(&mut self.scratch)?;
                continue;
            };
            hint = index + 1;
            if self.see(seen, index) {
                self.scanner.skip(&mut self.scratch)?; // the first one counts
                continue;
            }
            let field = plan.field(index);
            if self.scanner.peek() == b'n' {
                self.scanner.literal("null")?;
                if field.is_required {
                    return Err(missing_required(field));
                }
                continue;
            }
            if let Some(oneof) = field.oneof
                && self.see(seen, plan.fields.len() as u32 + oneof)
            {
                return Err(JsonError::OneofTwice { field: field.full_name.to_string() });
            }
            if field.shape == Shape::Singular && field.kind.message().is_none() {
                if !self.scalar(field)?
                    && let Some(oneof) = field.oneof
                {
                    self.unsee(seen, plan.fields.len() as u32 + oneof);
                }
                continue;
            }
            // What follows may go into something: then this message goes on later, from its frame.
            let frame = self.frames.len() - 1;
            self.frames[frame].is_first = false;
            self.frames[frame].inside = Inside::Message { message, seen, hint };
            match field.shape {
                Shape::Singular => self.message(message, index, field)?,
                Shape::Map { .. } if self.scanner.peek() == b'{' => {
                    self.scanner.at += 1;
                    let inside = Inside::Map { message, field: index };
                    self.frames.push(Frame { inside, is_first: true, end: End::Nothing });
                }
                Shape::Map { .. } | Shape::List { .. } => self.list(message, index, field)?,
            }
            if self.frames.len() != frame + 1 {
                return Ok(());
            }
        }
    }

    /// Whether there is another member, whose key comes next.
    #[inline]
    fn next_member(&mut self, is_first: bool) -> Result<bool, JsonError> {
        match self.scanner.peek() {
            b'}' => {
                self.scanner.at += 1;
                return Ok(false);
            }
            b',' if !is_first => {
                self.scanner.at += 1;
                self.scanner.peek();
            }
            _ if !is_first => return self.scanner.error("a comma or an end is missing"),
            _ => {}
        }
        if self.scanner.peek() == b'"' { Ok(true) } else { self.scanner.error("a key is missing") }
    }

    /// Whether there is another element, which comes next.
    #[inline]
    fn next_element(&mut self, is_first: bool) -> Result<bool, JsonError> {
        match self.scanner.peek() {
            b']' => {}
            b',' if !is_first => {
                self.scanner.at += 1;
                return Ok(true);
            }
            _ if is_first => return Ok(true),
            _ => return self.scanner.error("a comma or an end is missing"),
        }
        self.scanner.at += 1;
        Ok(false)
    }

    /// Reads a singular field of a scalar type; false if it was passed over.
    #[inline]
    fn scalar(&mut self, field: &FieldPlan) -> Result<bool, JsonError> {
        let (place, start) = (self.out.place(), self.scanner.at);
        self.out.tag(&field.tag);
        match self.take_scalar(field.kind)? {
            Taken::Value => Ok(true),
            Taken::Mismatch => {
                self.out.go_back(place);
                self.scanner.at = start;
                self.pass_over(field)?;
                Ok(false)
            }
            Taken::BadBase64 => Err(mismatch(field)),
        }
    }

    /// Passes over a value that does not fit the field, if that may be.
    #[cold]
    fn pass_over(&mut self, field: &FieldPlan) -> Result<(), JsonError> {
        self.scanner.skip(&mut self.scratch)?;
        if field.is_required || self.options.strict {
            return Err(mismatch(field));
        }
        let note = self.note.get_or_insert_default();
        if note.len() < NOTE_MAX {
            let separator = if note.is_empty() { "" } else { "; " };
            note.push_str(separator);
            note.push_str(&format!(
                "field {} was skipped, it has to be {}",
                field.full_name,
                expected(field.kind)
            ));
        }
        Ok(())
    }

    /// Starts a singular message or an element of a list of them.
    fn message(&mut self, owner: u32, index: u32, field: &FieldPlan) -> Result<(), JsonError> {
        if self.scanner.peek() != b'{' {
            self.scanner.skip(&mut self.scratch)?;
            return Err(mismatch(field));
        }
        self.scanner.at += 1;
        self.out.tag(&field.tag);
        let (message, end) = match field.kind {
            Kind::Group(message) => (message, End::Group { message: owner, field: index }),
            kind => {
                self.out.open();
                (kind.message().expect("a message"), End::Length)
            }
        };
        self.enter(message, end)
    }

    /// Reads an array of scalars, or goes into one of messages.
    fn list(&mut self, message: u32, index: u32, field: &FieldPlan) -> Result<(), JsonError> {
        if self.scanner.peek() != b'[' {
            self.scanner.skip(&mut self.scratch)?;
            return Err(JsonError::Mismatch { field: field.full_name.to_string(), expected: "an array" });
        }
        self.scanner.at += 1;
        if field.kind.message().is_some() {
            let inside = Inside::List { message, field: index };
            self.frames.push(Frame { inside, is_first: true, end: End::Nothing });
            return Ok(());
        }
        let is_packed = field.shape == Shape::List { is_packed: true };
        let place = self.out.place();
        if is_packed {
            self.out.tag(&field.second_tag);
            self.out.open();
        }
        let mut is_first = true;
        while self.next_element(is_first)? {
            is_first = false;
            self.scanner.peek();
            let start = self.scanner.at;
            if !is_packed {
                self.out.tag(&field.tag);
            }
            match self.take_scalar(field.kind)? {
                Taken::Value => {}
                Taken::Mismatch | Taken::BadBase64 => {
                    self.scanner.at = start;
                    self.scanner.skip(&mut self.scratch)?;
                    return Err(mismatch(field));
                }
            }
        }
        match is_packed {
            true if self.out.is_empty_inside() => self.out.give_up(place),
            true => self.out.close()?,
            false => {}
        }
        Ok(())
    }

    /// Goes into the next element of an array of messages, or leaves the array.
    fn elements(&mut self, message: u32, field: u32) -> Result<(), JsonError> {
        let frame = self.frames.last_mut().expect("an array");
        let is_first = std::mem::replace(&mut frame.is_first, false);
        if !self.next_element(is_first)? {
            return self.leave();
        }
        self.message(message, field, self.plans.message(message).field(field))
    }

    /// Reads entries of a map until its end, or until it has gone into a value.
    fn entries(&mut self, message: u32, index: u32) -> Result<(), JsonError> {
        let field = self.plans.message(message).field(index);
        let (Shape::Map { key, value }, Some(entry)) = (field.shape, field.kind.message()) else {
            unreachable!("only maps are gone into as such");
        };
        let entry_plan = self.plans.message(entry);
        let (key, value_field) = (entry_plan.field(key), entry_plan.field(value));
        let mut is_first = self.frames.last().is_some_and(|frame| frame.is_first);
        loop {
            if !self.next_member(is_first)? {
                return self.leave();
            }
            is_first = false;
            self.out.tag(&field.tag);
            self.out.open();
            self.out.tag(&key.tag);
            self.put_text()?;
            self.scanner.expect(b':', "a colon is missing")?;
            match self.scanner.peek() {
                b'n' => {
                    self.scanner.literal("null")?;
                    if value_field.is_required {
                        return Err(missing_required(value_field));
                    }
                }
                _ if value_field.kind.message().is_some() => {
                    self.frames.last_mut().expect("a map").is_first = false;
                    self.deepen()?;
                    self.message(entry, value, value_field)?;
                    let frame = self.frames.last_mut().expect("the value");
                    frame.end = match frame.end {
                        End::Group { message, field } => End::GroupInEntry { message, field },
                        _ => End::Lengths,
                    };
                    return Ok(());
                }
                _ => drop(self.scalar(value_field)?),
            }
            self.out.close()?;
        }
    }
}

/// Words of bits for a message.
fn words(plan: &MessagePlan) -> usize {
    (plan.fields.len() + plan.oneofs as usize).div_ceil(64)
}

#[cold]
fn missing_required(field: &FieldPlan) -> JsonError {
    JsonError::MissingRequired { field: field.full_name.to_string() }
}

#[cold]
fn mismatch(field: &FieldPlan) -> JsonError {
    JsonError::Mismatch { field: field.full_name.to_string(), expected: expected(field.kind) }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "an integer of 32 bits",
        Kind::Uint32 | Kind::Fixed32 => "an unsigned integer of 32 bits",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "an integer of 64 bits",
        Kind::Uint64 | Kind::Fixed64 => "an unsigned integer of 64 bits",
        Kind::Float => "a number in the range of a float",
        Kind::Double => "a number in the range of a double",
        Kind::Bool => "true or false",
        Kind::String => "a string",
        Kind::Bytes => "a string of base64",
        Kind::Enum(_) => "a name or a number of its enum",
        Kind::Message(_) | Kind::Group(_) => "an object",
    }
}
