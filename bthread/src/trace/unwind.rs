//! From one frame to its caller's, by the call-frame information of the code (DWARF 5, section 6.4).
//!
//! Works on a copy of a stack, which may hold anything: every address is looked up in the copy and in the loaded
//! objects' tables, never followed. Must never run longer than its bounds: [`FRAMES_MAX`](super::FRAMES_MAX) frames.

use gimli::{
    CfaRule, EhFrame, EndianSlice, Evaluation, EvaluationResult, Location, NativeEndian, Register,
    RegisterRule, UnwindContext, UnwindExpression, Value,
};

use super::objects::Objects;
use super::registers::{Registers, SP, code_address};
use super::{End, FRAMES_MAX, StackCopy, StackTrace, caller_search};

/// Operations that one DWARF expression may take.
const EXPRESSION_STEPS_MAX: u32 = 256;

/// Why there is no further frame.
enum Stop {
    /// The code says that nobody called it.
    Outermost,
    /// No table for the code, or what it asks for is not known.
    Lost,
}

struct Frame {
    registers: Registers,
    /// `pc` is an instruction that runs next, not one that a call returns to.
    is_exact: bool,
}

/// The frames of `stack` from `registers` on. `is_exact`: `registers.pc` is an instruction to run, not one that a
/// call returns to.
pub(super) fn unwind(stack: &StackCopy, registers: Registers, is_exact: bool) -> StackTrace {
    let objects = super::objects::current();
    let mut context = UnwindContext::new();
    let mut frames = Vec::new();
    let mut frame = Frame { registers, is_exact };
    loop {
        // A call may be the last instruction of its function, so that the one after belongs to another.
        let address = frame.registers.pc.saturating_sub(usize::from(!frame.is_exact));
        frames.push(address);
        if frames.len() == FRAMES_MAX {
            return StackTrace { frames, end: End::Cut };
        }
        match step(stack, &objects, &mut context, &frame, address) {
            Ok(caller) => frame = caller,
            Err(Stop::Outermost) => return StackTrace { frames, end: End::Outermost },
            Err(Stop::Lost) => return StackTrace { frames, end: End::Lost },
        }
    }
}

fn step(
    stack: &StackCopy,
    objects: &Objects,
    context: &mut UnwindContext<usize>,
    frame: &Frame,
    address: usize,
) -> Result<Frame, Stop> {
    let registers = &frame.registers;
    let (function, entries, bases) =
        objects.at(address).and_then(|object| object.function(address)).ok_or(Stop::Lost)?;
    let encoding = function.cie().encoding();
    let row =
        function.unwind_info_for_address(&entries, bases, context, address as u64).map_err(|_| Stop::Lost)?;
    let returns_to = function.cie().return_address_register();
    let is_signal = function.is_signal_trampoline();
    let expression = |expression: UnwindExpression<usize>, start: Option<usize>| {
        evaluate(stack, registers, &entries, encoding, expression, start)
    };

    // Before all else: the outermost frame need not have a size either.
    if row.register(returns_to) == Some(RegisterRule::Undefined) {
        return Err(Stop::Outermost);
    }
    let sp = registers.get(SP).ok_or(Stop::Lost)?;
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => match registers.get(*register) {
            Some(value) => Some(value.wrapping_add_signed(*offset as isize)),
            None => match row.register(returns_to) {
                Some(RegisterRule::Offset(offset)) => caller_search::search(
                    stack,
                    objects,
                    sp,
                    offset as isize,
                    function.initial_address() as usize,
                ),
                _ => None,
            },
        },
        CfaRule::Expression(rule) => expression(*rule, None),
    };
    let cfa = cfa.ok_or(Stop::Lost)?;
    // Callers lie higher. A function that uses no stack ends where it began, but calls nobody; a signal may have
    // changed stacks.
    if !is_signal && (cfa < sp || cfa == sp && !frame.is_exact) {
        return Err(Stop::Lost);
    }

    let mut caller = Registers::at(0, cfa);
    for register in Registers::all() {
        let value = match row.register(register) {
            None if register == SP => Some(cfa),
            None | Some(RegisterRule::SameValue) if is_signal || Registers::is_preserved(register) => {
                registers.get(register)
            }
            None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => None,
            Some(RegisterRule::Offset(offset)) => stack.word(cfa.wrapping_add_signed(offset as isize)),
            Some(RegisterRule::ValOffset(offset)) => Some(cfa.wrapping_add_signed(offset as isize)),
            Some(RegisterRule::Register(other)) => registers.get(other),
            Some(RegisterRule::Expression(rule)) => {
                expression(rule, Some(cfa)).and_then(|place| stack.word(place))
            }
            Some(RegisterRule::ValExpression(rule)) => expression(rule, Some(cfa)),
            Some(_) => None,
        };
        caller.set(register, value);
    }
    caller.pc = match row.register(returns_to) {
        // Only what has called nobody may still hold its return address in a register.
        None if !frame.is_exact => return Err(Stop::Lost),
        _ => code_address(caller.get(returns_to).ok_or(Stop::Lost)?),
    };
    if caller.pc == 0 {
        return Err(Stop::Outermost);
    }
    Ok(Frame { registers: caller, is_exact: is_signal })
}

/// The value of a DWARF expression, with `start` on its stack if given; none if it asks for what is not known.
fn evaluate(
    stack: &StackCopy,
    registers: &Registers,
    entries: &EhFrame<EndianSlice<'_, NativeEndian>>,
    encoding: gimli::Encoding,
    expression: UnwindExpression<usize>,
    start: Option<usize>,
) -> Option<usize> {
    let mut evaluation: Evaluation<_> = expression.get(entries).ok()?.evaluation(encoding);
    evaluation.set_max_iterations(EXPRESSION_STEPS_MAX);
    if let Some(start) = start {
        evaluation.set_initial_value(start as u64);
    }
    let mut result = evaluation.evaluate().ok()?;
    loop {
        result = match result {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                evaluation.resume_with_memory(Value::Generic(stack.word(address as usize)? as u64)).ok()?
            }
            EvaluationResult::RequiresRegister { register: Register(number), .. } => {
                let value = registers.get(Register(number))?;
                evaluation.resume_with_register(Value::Generic(value as u64)).ok()?
            }
            _ => return None,
        };
    }
    match evaluation.as_result() {
        [piece] => match piece.location {
            Location::Address { address } => Some(address as usize),
            _ => None,
        },
        _ => None,
    }
}
