//! From protobuf bytes to JSON text, without a message object between the two.
//!
//! A message is looked over once before anything of it is written: JSON has the fields in the order of their
//! declaration, the wire may have them in any order, more than once, and lists in pieces. What was found is kept as
//! runs of neighbouring occurrences, so the usual message costs a few words, and the worst one twelve bytes for each
//! two of the wire. Nothing recurses.

use smallvec::SmallVec;

use super::MAX_RECURSION_DEPTH;
use super::error::JsonError;
use super::options::JsonOptions;
use super::plan::{FieldPlan, Kind, MessagePlan, Plans, Shape};
use super::wire::{DELIMITED, GROUP_END, GROUP_START, Reader};
use super::write_scalar::{self, Scalars};

/// Neighbouring occurrences of one field on the wire, tags included; of a singular scalar only the last one.
#[derive(Clone, Copy, Debug)]
struct Run {
    field: u32,
    start: u32,
    end: u32,
}

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

pub(super) struct WriteJson<'a> {
    plans: &'a Plans,
    options: &'a JsonOptions,
    wire: &'a [u8],
    out: &'a mut Vec<u8>,
    runs: SmallVec<[Run; 8]>,
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
        let (runs, frames) = (SmallVec::new(), SmallVec::new());
        Ok(WriteJson { plans, options, wire, out, runs, frames, depth: 0, level: 0 })
    }

    /// Writes all of the wire as one message.
    pub(super) fn message(&mut self, message: u32) -> Result<(), JsonError> {
        let plan = self.plans.message(message);
        self.depth = 1;
        let runs = self.runs.len();
        self.look_over(plan, Reader::new(self.wire, 0, self.wire.len()))?;
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

    /// Notes the runs of one part of a message.
    fn look_over(&mut self, plan: &MessagePlan, mut reader: Reader<'a>) -> Result<(), JsonError> {
        let first_run = self.runs.len();
        while !reader.is_at_end() {
            let start = reader.at as u32;
            let (number, wire_type) = reader.tag()?;
            let is_group_end = wire_type == GROUP_END;
            if is_group_end {
                return Err(reader.error("end of a group that was not started"));
            }
            reader.skip(number, wire_type)?;
            let Some(field) = plan.by_number(number) else { continue };
            let field_plan = plan.field(field);
            if !fits(field_plan, wire_type) || !self.is_known_value(field_plan, start as usize) {
                continue;
            }
            let end = reader.at as u32;
            let is_scalar = field_plan.shape == Shape::Singular && field_plan.kind.message().is_none();
            match self.runs[first_run..].last_mut() {
                Some(run) if run.field == field && run.end == start => {
                    run.end = end;
                    if is_scalar {
                        run.start = start;
                    }
                }
                _ => self.runs.push(Run { field, start, end }),
            }
        }
        Ok(())
    }

    /// False for a number that a closed enum has no name for: that is as if it were not there.
    fn is_known_value(&self, field: &FieldPlan, start: usize) -> bool {
        let Kind::Enum(item) = field.kind else { return true };
        let item = self.plans.enumeration(item);
        if !item.is_closed || field.shape != Shape::Singular {
            return true; // in lists, values are looked at one by one
        }
        let mut reader = Reader::new(self.wire, start, self.wire.len());
        let value = reader.tag().and_then(|_| reader.varint());
        value.is_ok_and(|value| item.name(value as i32).is_some())
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
        self.arrange(plan, runs);
        if !is_unset && !plan.required.is_empty() {
            self.check_required(plan, runs)?;
        }
        if !is_bare {
            self.bracket(b'{');
        }
        let (at, end) = (runs as u32, self.runs.len() as u32);
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

    fn arrange(&mut self, plan: &MessagePlan, start: usize) {
        if self.runs.len() - start < 2 {
            return;
        }
        if plan.oneofs != 0 {
            self.keep_last_of_oneofs(plan, start);
        }
        let runs = &mut self.runs[start..];
        if !runs.is_sorted_by_key(|run| run.field) {
            runs.sort_unstable_by_key(|run| (run.field, run.start));
        }
    }

    /// Of the members of a oneof, the last one on the wire is set; the others, and what was merged into the same one
    /// before they came, are gone.
    fn keep_last_of_oneofs(&mut self, plan: &MessagePlan, start: usize) {
        #[derive(Clone, Copy, PartialEq)]
        enum Winner {
            None,
            Field(u32),
            Closed,
        }
        let mut winners: SmallVec<[Winner; 8]> = SmallVec::from_elem(Winner::None, plan.oneofs as usize);
        let mut kept = self.runs.len();
        for at in (start..self.runs.len()).rev() {
            let run = self.runs[at];
            let is_kept = match plan.field(run.field).oneof.map(|oneof| &mut winners[oneof as usize]) {
                None => true,
                Some(winner) => {
                    if *winner == Winner::None {
                        *winner = Winner::Field(run.field);
                    } else if *winner != Winner::Field(run.field) {
                        *winner = Winner::Closed;
                    }
                    *winner == Winner::Field(run.field)
                }
            };
            if is_kept {
                kept -= 1;
                self.runs[kept] = run;
            }
        }
        self.runs.drain(start..kept);
    }

    fn check_required(&self, plan: &MessagePlan, start: usize) -> Result<(), JsonError> {
        let mut runs = self.runs[start..].iter().map(|run| run.field).peekable();
        for &required in &plan.required {
            while runs.next_if(|field| *field < required).is_some() {}
            if runs.peek() != Some(&required) {
                let field = plan.field(required).full_name.to_string();
                return Err(JsonError::MissingRequired { field });
            }
        }
        Ok(())
    }

    /// Writes members of a message until its end, or until it has gone into one of them.
    fn members(&mut self, mut state: Message) -> Result<(), JsonError> {
        let plan = self.plans.message(state.message);
        let wants_all =
            self.options.always_print_primitive_fields || self.options.jsonify_empty_array || state.is_bare;
        loop {
            let on_wire = match self.runs[state.at as usize..state.end as usize].first() {
                Some(run) => run.field,
                None => u32::MAX,
            };
            let index = if wants_all { state.next } else { state.next.max(on_wire.min(plan.maps_from)) };
            if index as usize >= plan.fields.len() {
                return self.end_message(&state);
            }
            state.next = index + 1;
            let first_run = state.at as usize;
            while self.runs[state.at as usize..state.end as usize]
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
            if !state.is_bare {
                self.key(field, &mut state);
            }
            match field.shape {
                Shape::List { .. } if field.kind.message().is_none() => {
                    self.list(field, runs)?;
                    continue;
                }
                _ => {}
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
        self.runs.truncate(state.runs as usize);
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
        let first = self.runs.len();
        for at in runs.0..runs.1 {
            let run = self.runs[at];
            let mut reader = Reader::new(self.wire, run.start as usize, run.end as usize);
            while !reader.is_at_end() {
                let content = self.content(&mut reader)?;
                self.look_over(plan, content)?;
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

    /// Writes a singular scalar, if it is to be written.
    #[inline]
    fn scalar(
        &mut self,
        field: &FieldPlan,
        runs: (usize, usize),
        state: &mut Message,
    ) -> Result<(), JsonError> {
        let mut reader;
        let last = self.runs[runs.0..runs.1].last().copied();
        match last {
            Some(run) => {
                reader = Reader::new(self.wire, run.start as usize, run.end as usize);
                reader.tag()?;
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
                reader = Reader::new(&field.default, 0, field.default.len());
            }
        }
        self.key(field, state);
        let scalars = Scalars { plans: self.plans, options: self.options };
        scalars.write(field, &mut reader, self.out)
    }

    /// Writes all values of a list of scalars.
    fn list(&mut self, field: &FieldPlan, runs: (usize, usize)) -> Result<(), JsonError> {
        self.bracket(b'[');
        let scalars = Scalars { plans: self.plans, options: self.options };
        let is_packable = field.kind.wire_type() != DELIMITED;
        let mut is_first = true;
        for at in runs.0..runs.1 {
            let run = self.runs[at];
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
        Ok(())
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
        let run = self.runs[items.at as usize];
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
        let first = self.runs.len();
        self.look_over(plan, content)?;
        if let Shape::Map { key, value } = field.shape {
            return self.entry(plan, first, (key, value));
        }
        self.deepen()?;
        self.begin(message, plan, first, false, false)
    }

    /// Writes an entry of a map, or goes into its value.
    fn entry(&mut self, plan: &MessagePlan, first: usize, (key, value): (u32, u32)) -> Result<(), JsonError> {
        self.arrange(plan, first);
        self.check_required(plan, first)?;
        let runs_of = |field: u32, runs: &[Run]| {
            let start = runs.partition_point(|run| run.field < field);
            (first + start, first + runs.partition_point(|run| run.field <= field))
        };
        let (keys, values) = (runs_of(key, &self.runs[first..]), runs_of(value, &self.runs[first..]));
        let (key, value) = (plan.field(key), plan.field(value));
        let scalars = Scalars { plans: self.plans, options: self.options };
        match self.runs[keys.0..keys.1].last() {
            Some(run) => {
                let mut reader = Reader::new(self.wire, run.start as usize, run.end as usize);
                reader.tag()?;
                scalars.write(key, &mut reader, self.out)?;
            }
            None => scalars.write(key, &mut Reader::new(&key.default, 0, key.default.len()), self.out)?,
        }
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
        match self.runs[values.0..values.1].last() {
            Some(run) => {
                let mut reader = Reader::new(self.wire, run.start as usize, run.end as usize);
                reader.tag()?;
                scalars.write(value, &mut reader, self.out)?;
            }
            None if plan.is_map_entry => {
                scalars.write(value, &mut Reader::new(&value.default, 0, value.default.len()), self.out)?;
            }
            None => self.out.extend_from_slice(b"null"),
        }
        self.runs.truncate(first);
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

/// Whether a value of this wire type is one of the field; another one is as if it were unknown.
fn fits(field: &FieldPlan, wire_type: u8) -> bool {
    let own = field.kind.wire_type();
    own == wire_type
        || (wire_type == DELIMITED && field.shape != Shape::Singular && field.kind.message().is_none())
}
