//! Tests of the switch as Rust code uses it. Registers and alignment are checked in `tests/context_harness`.

#![allow(unsafe_code)]

use super::{Context, leave, prepare, switch};
use std::backtrace::Backtrace;
use std::panic::{AssertUnwindSafe, catch_unwind};

const STACK_BYTES: usize = 1 << 20;
/// What `prepare` may write to, below the top it is given.
const PREPARED_BYTES: usize = 256;

type Body = Box<dyn FnOnce(&mut Yielder)>;

/// A flow that runs one closure and then leaves for good.
struct Flow {
    main: Context,
    own: Context,
    body: Option<Body>,
    ended: bool,
    stack: Vec<u8>,
}

struct Yielder(*mut Flow);

impl Yielder {
    fn give_way(&mut self) {
        // SAFETY: the flow outlives its own run, and `main` was stored by the switch that resumed it.
        unsafe {
            let to = std::mem::replace(&mut (*self.0).main, Context::null());
            switch(&raw mut (*self.0).own, to);
        }
    }
}

extern "C" fn entry(arg: *mut ()) -> ! {
    let flow = arg.cast::<Flow>();
    // SAFETY: `resume` passed a flow that lives until it is dropped, after `ended`.
    unsafe {
        let body = (*flow).body.take().expect("a flow starts once");
        body(&mut Yielder(flow));
        (*flow).ended = true;
        leave(std::mem::replace(&mut (*flow).main, Context::null()))
    }
}

fn flow(body: impl FnOnce(&mut Yielder) + 'static) -> Box<Flow> {
    let mut flow = Box::new(Flow {
        main: Context::null(),
        own: Context::null(),
        body: Some(Box::new(body)),
        ended: false,
        stack: vec![0; STACK_BYTES],
    });
    let arg = (&raw mut *flow).cast::<()>();
    // SAFETY: the stack is the flow's own and large enough for every test here.
    unsafe {
        let limit = flow.stack.as_mut_ptr();
        flow.own = prepare(limit, limit.add(STACK_BYTES), entry, arg);
    }
    flow
}

fn resume(flow: &mut Flow) {
    assert!(!flow.ended);
    let flow: *mut Flow = flow;
    // SAFETY: `own` holds the prepared or the last stored context, and is taken out here.
    unsafe {
        let to = std::mem::replace(&mut (*flow).own, Context::null());
        switch(&raw mut (*flow).main, to);
    }
}

#[cfg(not(feature = "sanitizers"))]
#[test]
fn a_context_is_one_word() {
    assert_eq!(size_of::<Context>(), size_of::<usize>());
    assert!(Context::null().is_null());
}

#[test]
fn prepare_stays_within_its_bytes_at_every_alignment() {
    extern "C" fn never(_: *mut ()) -> ! {
        unreachable!()
    }
    let mut memory = vec![0xa5_u8; 512];
    for top in 496..512 {
        memory.fill(0xa5);
        // SAFETY: the bytes below `top` are the vector's.
        let context = unsafe {
            let limit = memory.as_mut_ptr();
            prepare(limit, limit.add(top), never, std::ptr::null_mut())
        };
        assert!(!context.is_null());
        assert!(memory[..top - PREPARED_BYTES].iter().all(|&byte| byte == 0xa5), "below, top {top}");
        assert!(memory[top..].iter().all(|&byte| byte == 0xa5), "above, top {top}");
    }
}

#[test]
fn many_flows_take_turns() {
    const FLOWS: usize = 100;
    const TURNS: usize = 1000;
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let mut flows: Vec<_> = (0..FLOWS)
        .map(|index| {
            let seen = seen.clone();
            flow(move |me| {
                let mut sum = index as f64;
                for turn in 0..TURNS {
                    seen.borrow_mut().push((turn, index));
                    sum += turn as f64;
                    me.give_way();
                }
                assert_eq!(sum, (index + TURNS * (TURNS - 1) / 2) as f64);
            })
        })
        .collect();
    while flows.iter().any(|flow| !flow.ended) {
        flows.iter_mut().filter(|flow| !flow.ended).for_each(|flow| resume(flow));
    }
    let expected: Vec<_> = (0..TURNS).flat_map(|turn| (0..FLOWS).map(move |index| (turn, index))).collect();
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn a_panic_unwinds_to_its_catch_and_drops_what_it_passes() {
    struct Count(std::rc::Rc<std::cell::Cell<u32>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let drops = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = Count(drops.clone());
    let mut flow = flow(move |me| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _count = count;
            me.give_way();
            std::panic::resume_unwind(Box::new(7_u32));
        }));
        assert_eq!(caught.unwrap_err().downcast_ref::<u32>(), Some(&7));
    });
    resume(&mut flow);
    assert_eq!(drops.get(), 0);
    resume(&mut flow);
    assert!(flow.ended);
    assert_eq!(drops.get(), 1);
}

#[test]
fn a_backtrace_ends_at_the_entry() {
    #[inline(never)]
    fn a_frame_to_look_for() -> String {
        Backtrace::force_capture().to_string()
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut flow = flow(move |me| {
        sender.send(a_frame_to_look_for()).unwrap();
        me.give_way();
        sender.send(a_frame_to_look_for()).unwrap();
    });
    for _ in 0..2 {
        resume(&mut flow);
        let trace = receiver.try_recv().unwrap();
        // Lines like "3: name"; what the names look like depends on the debug information.
        let frames: Vec<&str> = trace
            .lines()
            .filter_map(|line| line.trim_start().split_once(": "))
            .map(|frame| frame.1)
            .collect();
        assert!(frames.iter().any(|frame| frame.contains("a_frame_to_look_for")), "{trace}");
        assert!(frames.last().unwrap().contains("entry"), "did not end where it should: {trace}");
        assert!((3..20).contains(&frames.len()), "{trace}");
    }
    assert!(flow.ended);
}

#[test]
fn a_context_resumes_on_another_thread() {
    struct Moved(Box<Flow>);
    // SAFETY: the closure inside owns only a sender, which is Send.
    unsafe impl Send for Moved {}
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut flow = flow(move |me| {
        for step in 0..3 {
            sender.send((step, std::thread::current().id())).unwrap();
            me.give_way();
        }
    });
    resume(&mut flow);
    for _ in 0..2 {
        let mut moved = Moved(flow);
        let run = move || {
            resume(&mut { &mut moved }.0);
            moved
        };
        flow = std::thread::spawn(run).join().unwrap().0;
    }
    let steps: Vec<_> = receiver.try_iter().collect();
    assert_eq!(steps.iter().map(|step| step.0).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(steps[0].1 != steps[1].1 && steps[1].1 != steps[2].1);
}
