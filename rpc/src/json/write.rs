//! From protobuf bytes to JSON text, without a message object between the two.
//!
//! JSON has the fields in the order of their declaration, so each message is looked over once (in `runs`) before
//! anything of it is written. It runs in a loop with a list of open messages and never recurses.

use smallvec::SmallVec;

use super::MAX_RECURSION_DEPTH;
use super::error::JsonError;
use super::options::JsonOptions;
use super::plan::{FieldPlan, MessagePlan, Plans, Shape};
use super::runs::{Run, Runs};
use super::wire::{DELIMITED, GROUP_START, Reader};
use super::write_scalar::{self, Scalars};

/// Something with values in it that is being written.
#[derive(Clone, Copy)]
enum Frame {
    Message(Message),
    Items(Items),
}

#[derive(Clone, Copy)]
struct Message {
    message: u32,
    /// Its runs are those from `runs` on; the next one is at `at`.
    runs: u32,
    at: u32,
    end: u32,
    /// The next field, in the order of output.
    next: u32,
    is_first: bool,
    /// It is not on the wire, and written with defaults.
    is_unset: bool,
    /// It stands for its only field, without braces.
    is_bare: bool,
    /// What it adds to the depth: a value of a map counts with its entry.
    levels: u32,
}

/// Messages in an array, or entries of a map.
#[derive(Clone, Copy)]
struct Items {
    message: u32,
    field: u32,
    at: u32,
    end: u32,
    /// Where in the first of the runs the next item is; 0 is its start.
    offset: u32,
    is_first: bool,
}

/// Room made for keys and brackets beforehand; a small message needs no more.
const KEYS_ROOM: usize = 64;

pub(super) struct WriteJson<'a> {
    plans: &'a Plans,
    options: &'a JsonOptions,
    wire: &'a [u8],
    out: &'a mut Vec<u8>,
    runs: Runs<'a>,
    frames: SmallVec<[Frame; 4]>,
    depth: u32,
    /// Open brackets, for indentation.
    level: usize,
}

impl<'a> WriteJson<'a> {
    pub(super) fn new(
        plans: &'a Plans,
        options: &'a JsonOptions,
        wire: &'a [u8],
        out: &'a mut Vec<u8>,
    ) -> Result<Self, JsonError> {
        if wire.len() > super::wire::MESSAGE_MAX {
            return Err(JsonError::TooLarge);
        }
        out.reserve(wire.len() + wire.len() / 2 + KEYS_ROOM);
        let runs = Runs::new(plans, wire);
        Ok(WriteJson { plans, options, wire, out, runs, frames: SmallVec::new(), depth: 0, level: 0 })
    }

    /// Writes all of the wire as one message.
    pub(super) fn message(&mut self, message: u32) -> Result<(), JsonError> {
        let plan = self.plans.message(message);
        self.depth = 1;
        let runs = self.runs.list.len();
        self.runs.look_over(plan, Reader::new(self.wire, 0, self.wire.len()))?;
        let is_bare = self.options.single_repeated_to_array
            && plan
                .single_repeated
                .is_some_and(|field| matches!(plan.field(field).shape, Shape::List { .. }));
        self.begin(message, plan, runs, false, is_bare)?;
        while let Some(&frame) = self.frames.last() {
            match frame {
                Frame::Message(state) => self.members(state)?,
                Frame::Items(items) => self.items(items)?,
            }
        }
        Ok(())
    }

    /// Puts the runs of a message into the order of output, checks them, and goes into it.
    fn begin(
        &mut self,
        message: u32,
        plan: &MessagePlan,
        runs: usize,
        is_unset: bool,
        is_bare: bool,
    ) -> Result<(), JsonError> {
        self.runs.arrange(plan, runs);
        if !is_unset && !plan.required.is_empty() {
            self.runs.check_required(plan, runs)?;
        }
        if !is_bare {
            self.bracket(b'{');
        }
        let (at, end) = (runs as u32, self.runs.list.len() as u32);
        self.frames.push(Frame::Message(Message {
            message,
            runs: at,
            at,
            end,
            next: 0,
            is_first: true,
            is_unset,
            is_bare,
            levels: 1,
        }));
        Ok(())
    }

    /// Writes members of a message until its end, or until it has gone into one of them.
    fn members(&mut self, mut state: Message) -> Result<(), JsonError> {
        let plan = self.plans.message(state.message);
        let wants_all =
            self.options.always_print_primitive_fields || self.options.jsonify_empty_array || state.is_bare;
        loop {
            let on_wire = match self.runs.list[state.at as usize..state.end as usize].first() {
                Some(run) => run.field,
                None => u32::MAX,
            };
            let index = if wants_all { state.next } else { state.next.max(on_wire.min(plan.maps_from)) };
            if index as usize >= plan.fields.len() {
                return self.end_message(&state);
            }
            state.next = index + 1;
            let first_run = state.at as usize;
            while self.runs.list[state.at as usize..state.end as usize]
                .first()
                .is_some_and(|run| run.field == index)
            {
                state.at += 1;
            }
            let field = plan.field(index);
            let runs = (first_run, state.at as usize);
            let is_missing = runs.0 == runs.1;
            match field.shape {
                Shape::Singular if field.kind.message().is_none() => {
                    self.scalar(field, runs, &mut state)?;
                    continue;
                }
                Shape::Singular if is_missing && !self.is_expanded(field) => continue,
                Shape::List { .. } if is_missing && !self.options.jsonify_empty_array && !state.is_bare => {
                    continue;
                }
                _ => {}
            }
            let (before, was_first) = (self.out.len(), state.is_first);
            if !state.is_bare {
                self.key(field, &mut state);
            }
            if matches!(field.shape, Shape::List { .. }) && field.kind.message().is_none() {
                let is_empty = self.list(field, runs)?;
                if is_empty && !self.options.jsonify_empty_array && !state.is_bare {
                    // It is on the wire, but nothing is in it.
                    self.out.truncate(before);
                    state.is_first = was_first;
                }
                continue;
            }
            *self.frames.last_mut().expect("a message") = Frame::Message(state);
            return match field.shape {
                Shape::Singular => self.enter(field, runs, is_missing),
                shape => {
                    self.bracket(if matches!(shape, Shape::Map { .. }) { b'{' } else { b'[' });
                    self.frames.push(Frame::Items(Items {
                        message: state.message,
                        field: index,
                        at: runs.0 as u32,
                        end: runs.1 as u32,
                        offset: 0,
                        is_first: true,
                    }));
                    Ok(())
                }
            };
        }
    }

    /// Whether a message that is not set is written all the same.
    fn is_expanded(&self, field: &FieldPlan) -> bool {
        let is_open = |frame: &Frame| match frame {
            Frame::Message(state) => Some(state.message) == field.kind.message(),
            Frame::Items(_) => false,
        };
        self.options.always_print_primitive_fields
            && !field.is_extension
            && field.oneof.is_none()
            && !self.frames.iter().any(is_open)
    }

    fn end_message(&mut self, state: &Message) -> Result<(), JsonError> {
        self.runs.list.truncate(state.runs as usize);
        self.frames.pop();
        self.depth -= state.levels;
        if !state.is_bare {
            self.end_bracket(b'}', state.is_first);
        }
        Ok(())
    }

    /// Goes into the message in the field, merged of all its occurrences.
    fn enter(&mut self, field: &FieldPlan, runs: (usize, usize), is_unset: bool) -> Result<(), JsonError> {
        self.deepen()?;
        let message = field.kind.message().expect("a message");
        let plan = self.plans.message(message);
        let first = self.runs.list.len();
        for at in runs.0..runs.1 {
            let run = self.runs.list[at];
            let mut reader = Reader::new(self.wire, run.start as usize, run.end as usize);
            while !reader.is_at_end() {
                let content = self.content(&mut reader)?;
                self.runs.look_over(plan, content)?;
            }
        }
        self.begin(message, plan, first, is_unset, false)
    }

    /// The content of a message whose tag comes next; the reader goes behind it.
    fn content(&self, reader: &mut Reader<'a>) -> Result<Reader<'a>, JsonError> {
        let (number, wire_type) = reader.tag()?;
        if wire_type == GROUP_START {
            let start = reader.at;
            let end = reader.skip(number, wire_type)?;
            return Ok(Reader::new(self.wire, start, end));
        }
        let len = reader.delimited()?.len();
        Ok(Reader::new(self.wire, reader.at - len, reader.at))
    }

    fn deepen(&mut self) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > MAX_RECURSION_DEPTH { Err(JsonError::TooDeep) } else { Ok(()) }
    }

    /// The value of a singular scalar on the wire, behind its tag: of several the last one.
    #[inline]
    fn last_value(&self, runs: (usize, usize)) -> Result<Option<Reader<'a>>, JsonError> {
        let Some(run) = self.runs.list[runs.0..runs.1].last() else { return Ok(None) };
        let mut reader = Reader::new(self.wire, run.start as usize, run.end as usize);
        reader.tag()?;
        Ok(Some(reader))
    }

    /// Writes a singular scalar, if it is to be written.
    #[inline]
    fn scalar(
        &mut self,
        field: &FieldPlan,
        runs: (usize, usize),
        state: &mut Message,
    ) -> Result<(), JsonError> {
        let mut reader;
        match self.last_value(runs)? {
            Some(value) => {
                reader = value;
                let zero = field.is_implicit && !self.options.always_print_primitive_fields;
                if zero && write_scalar::is_zero(field.kind, reader) {
                    return Ok(());
                }
            }
            None => {
                let is_wanted = self.options.always_print_primitive_fields
                    && !field.is_extension
                    && field.oneof.is_none()
                    && (state.is_unset || !field.is_required);
                if !is_wanted {
                    return Ok(());
                }
                reader = default_of(field);
            }
        }
        self.key(field, state);
        let scalars = Scalars { plans: self.plans, options: self.options };
        scalars.write(field, &mut reader, self.out)
    }

    /// Writes all values of a list of scalars. Whether there were none.
    fn list(&mut self, field: &FieldPlan, runs: (usize, usize)) -> Result<bool, JsonError> {
        self.bracket(b'[');
        let scalars = Scalars { plans: self.plans, options: self.options };
        let is_packable = field.kind.wire_type() != DELIMITED;
        let mut is_first = true;
        for at in runs.0..runs.1 {
            let run = self.runs.list[at];
            let mut reader = Reader::new(self.wire, run.start as usize, run.end as usize);
            while !reader.is_at_end() {
                let (_, wire_type) = reader.tag()?;
                let mut values = reader;
                if is_packable && wire_type == DELIMITED {
                    let len = reader.delimited()?.len();
                    values = Reader::new(self.wire, reader.at - len, reader.at);
                    while !values.is_at_end() {
                        self.element(&scalars, field, &mut values, &mut is_first)?;
                    }
                } else {
                    self.element(&scalars, field, &mut values, &mut is_first)?;
                    reader.at = values.at;
                }
            }
        }
        self.end_bracket(b']', is_first);
        Ok(is_first)
    }

    fn element(
        &mut self,
        scalars: &Scalars<'_>,
        field: &FieldPlan,
        reader: &mut Reader<'_>,
        is_first: &mut bool,
    ) -> Result<(), JsonError> {
        if scalars.is_unknown(field, *reader) {
            return reader.varint().map(drop);
        }
        self.separate(std::mem::replace(is_first, false));
        scalars.write(field, reader, self.out)
    }

    /// Goes into the next message of an array or map, or leaves it.
    fn items(&mut self, mut items: Items) -> Result<(), JsonError> {
        let field = self.plans.message(items.message).field(items.field);
        if items.at == items.end {
            self.frames.pop();
            let is_map = matches!(field.shape, Shape::Map { .. });
            self.end_bracket(if is_map { b'}' } else { b']' }, items.is_first);
            return Ok(());
        }
        let run = self.runs.list[items.at as usize];
        let start = (run.start + items.offset) as usize;
        let mut reader = Reader::new(self.wire, start, run.end as usize);
        let content = self.content(&mut reader)?;
        items.offset = reader.at as u32 - run.start;
        if reader.is_at_end() {
            items.at += 1;
            items.offset = 0;
        }
        self.separate(std::mem::replace(&mut items.is_first, false));
        *self.frames.last_mut().expect("items") = Frame::Items(items);
        let message = field.kind.message().expect("a message");
        let plan = self.plans.message(message);
        let first = self.runs.list.len();
        self.runs.look_over(plan, content)?;
        if let Shape::Map { key, value } = field.shape {
            return self.entry(plan, first, (key, value));
        }
        self.deepen()?;
        self.begin(message, plan, first, false, false)
    }

    /// Writes an entry of a map, or goes into its value.
    fn entry(&mut self, plan: &MessagePlan, first: usize, (key, value): (u32, u32)) -> Result<(), JsonError> {
        self.runs.arrange(plan, first);
        self.runs.check_required(plan, first)?;
        let runs_of = |field: u32, runs: &[Run]| {
            let start = runs.partition_point(|run| run.field < field);
            (first + start, first + runs.partition_point(|run| run.field <= field))
        };
        let (keys, values) =
            (runs_of(key, &self.runs.list[first..]), runs_of(value, &self.runs.list[first..]));
        let (key, value) = (plan.field(key), plan.field(value));
        let scalars = Scalars { plans: self.plans, options: self.options };
        let mut reader = self.last_value(keys)?.unwrap_or_else(|| default_of(key));
        scalars.write(key, &mut reader, self.out)?;
        self.colon();
        let is_missing = values.0 == values.1;
        if value.kind.message().is_some() && (!is_missing || plan.is_map_entry) {
            // The runs of the entry stay below those of the value until the array or map has ended.
            self.deepen()?;
            self.enter(value, values, false)?;
            if let Some(Frame::Message(state)) = self.frames.last_mut() {
                state.runs = first as u32;
                state.levels = 2;
            }
            return Ok(());
        }
        match self.last_value(values)?.or_else(|| plan.is_map_entry.then(|| default_of(value))) {
            Some(mut reader) => scalars.write(value, &mut reader, self.out)?,
            None => self.out.extend_from_slice(b"null"),
        }
        self.runs.list.truncate(first);
        Ok(())
    }

    // What is between values.

    #[inline]
    fn key(&mut self, field: &FieldPlan, state: &mut Message) {
        let is_first = std::mem::replace(&mut state.is_first, false);
        if self.options.pretty {
            self.separate(is_first);
            self.out.extend_from_slice(&field.printed[1..]);
            self.out.push(b' ');
        } else {
            self.out.extend_from_slice(&field.printed[usize::from(is_first)..]);
        }
    }

    fn colon(&mut self) {
        self.out.extend_from_slice(if self.options.pretty { b": " } else { b":" });
    }

    #[inline]
    fn separate(&mut self, is_first: bool) {
        if !is_first {
            self.out.push(b',');
        }
        if self.options.pretty {
            self.new_line();
        }
    }

    fn new_line(&mut self) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + self.level * super::INDENT, b' ');
    }

    fn bracket(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.level += 1;
    }

    fn end_bracket(&mut self, bracket: u8, is_empty: bool) {
        self.level -= 1;
        if self.options.pretty && !is_empty {
            self.new_line();
        }
        self.out.push(bracket);
    }
}

/// The value of a scalar that is not set.
fn default_of(field: &FieldPlan) -> Reader<'_> {
    Reader::new(&field.default, 0, field.default.len())
}
