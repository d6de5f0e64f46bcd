//! Where the fields of a message are on the wire: they may come in any order, more than once, and lists in pieces.
//!
//! What is found is kept as runs of neighbouring occurrences, so the usual message costs a few words, and the worst one
//! twelve bytes for each two of the wire. Nothing of a value is kept.

use smallvec::SmallVec;

use super::error::JsonError;
use super::plan::{FieldPlan, Kind, MessagePlan, Plans, Shape};
use super::wire::{DELIMITED, GROUP_END, Reader};

/// Neighbouring occurrences of one field on the wire, tags included; of a singular scalar only the last one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) field: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The runs of all messages that are open, those of inner ones behind those of outer ones.
pub(super) struct Runs<'a> {
    plans: &'a Plans,
    wire: &'a [u8],
    pub(super) list: SmallVec<[Run; 8]>,
}

impl<'a> Runs<'a> {
    pub(super) fn new(plans: &'a Plans, wire: &'a [u8]) -> Self {
        Runs { plans, wire, list: SmallVec::new() }
    }

    /// Notes the runs of one part of a message.
    pub(super) fn look_over(&mut self, plan: &MessagePlan, mut reader: Reader<'a>) -> Result<(), JsonError> {
        let first_run = self.list.len();
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
            match self.list[first_run..].last_mut() {
                Some(run) if run.field == field && run.end == start => {
                    run.end = end;
                    if is_scalar {
                        run.start = start;
                    }
                }
                _ => self.list.push(Run { field, start, end }),
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

    /// Puts the runs from `start` on, all those of a message, into the order of output, and drops what is not set.
    pub(super) fn arrange(&mut self, plan: &MessagePlan, start: usize) {
        if self.list.len() - start < 2 {
            return;
        }
        if plan.oneofs != 0 {
            self.keep_last_of_oneofs(plan, start);
        }
        let runs = &mut self.list[start..];
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
        let mut kept = self.list.len();
        for at in (start..self.list.len()).rev() {
            let run = self.list[at];
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
                self.list[kept] = run;
            }
        }
        self.list.drain(start..kept);
    }

    /// Whether the runs from `start` on, in order, have all that is required.
    pub(super) fn check_required(&self, plan: &MessagePlan, start: usize) -> Result<(), JsonError> {
        let mut runs = self.list[start..].iter().map(|run| run.field).peekable();
        for &required in &plan.required {
            while runs.next_if(|field| *field < required).is_some() {}
            if runs.peek() != Some(&required) {
                let field = plan.field(required).full_name.to_string();
                return Err(JsonError::MissingRequired { field });
            }
        }
        Ok(())
    }
}

/// Whether a value of this wire type is one of the field; another one is as if it were unknown.
fn fits(field: &FieldPlan, wire_type: u8) -> bool {
    let own = field.kind.wire_type();
    own == wire_type
        || (wire_type == DELIMITED && field.shape != Shape::Singular && field.kind.message().is_none())
}
