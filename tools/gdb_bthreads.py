"""Bthreads in gdb, in a running process or a core file.

    (gdb) source tools/gdb_bthreads.py
    (gdb) bthreads [PATTERN]      all bthreads, or those whose name or state contains PATTERN
    (gdb) bthread ID bt           the stack of one
    (gdb) bthread ID              makes it the stack that bt, up, frame and info locals show
    (gdb) bthread off             back to the thread's own

Needs the program's symbols and no more: it reads the table BOBBIN_BTHREAD_LAYOUT (bthread/src/task/layout.rs), not
the debug information. Nothing is written to the process: its registers stay as they are. gdb 11 or newer; x86-64 and
AArch64.

A core file must be the kernel's (ulimit -c unlimited; kill -ABRT PID). That of gdb's own gcore lacks stacks, for it
gives up a mapping at the first page that it cannot read, and every stack has a guard.
"""

import struct

import gdb
import gdb.unwinder

VERSION = 1
# Frames that `bthread ID bt` prints.
FRAMES_MAX = 256

FIELDS = (
    "version size chunks chunks_len chunk_tasks task_size index identity phase phase_free life life_done "
    "parker_state parker_parked home phase_started context name worker_index worker_thread"
).split()

# By architecture: pc, sp, bytes of the saved frame, and offset of each saved register in it (bthread/src/context).
FRAMES = {
    "i386:x86-64": ("rip", "rsp", 64, {"r15": 8, "r14": 16, "r13": 24, "r12": 32, "rbx": 40, "rbp": 48, "rip": 56}),
    "aarch64": (
        "pc",
        "sp",
        176,
        {**{f"x{19 + n}": 64 + 8 * n for n in range(10)}, "x29": 160, "x30": 168, "pc": 168},
    ),
}


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def word(data, offset):
    return struct.unpack_from("=Q", data, offset)[0]


def half(data, offset):
    return struct.unpack_from("=I", data, offset)[0]


def layout():
    # The language of the selected frame decides how an expression reads.
    language = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        address = int(gdb.parse_and_eval("(unsigned long)&BOBBIN_BTHREAD_LAYOUT"))
    except gdb.error as error:
        raise gdb.GdbError(f"no bthreads here, or no symbols: {error}") from None
    finally:
        gdb.execute(f"set language {language}", to_string=True)
    size = 8 * len(FIELDS)
    table = dict(zip(FIELDS, struct.unpack(f"={len(FIELDS)}Q", read(address, size))))
    if table["version"] != VERSION or table["size"] < size:
        raise gdb.GdbError(f"the program's table has version {table['version']}; this script knows {VERSION}")
    return table


class Bthread:
    def __init__(self, table, data):
        def at(field):
            return word(data, table[field])

        self.id = at("identity") >> 32 << 32 | half(data, table["index"])
        self.sp = at("context")
        self.home = at("home")
        self.name_at = at("name"), word(data, table["name"] + 8)
        self.table = table
        life = half(data, table["life"])
        if data[table["phase"]] == table["phase_free"]:
            self.state = None
        elif life & table["life_done"]:
            self.state = "ended"
        elif data[table["phase"]] != table["phase_started"]:
            self.state = "queued"
        elif self.sp == 0:
            self.state = "running"
        elif half(data, table["parker_state"]) == table["parker_parked"]:
            self.state = "parked"
        else:
            self.state = "ready"

    def name(self):
        address, length = self.name_at
        if address == 0:
            return ""
        try:
            return read(address, min(length, 256)).decode(errors="replace")
        except gdb.MemoryError:
            return "?"

    def worker(self):
        """The number of the home worker and its thread's id; none before the start."""
        if self.state == "queued" or self.home == 0:
            return None
        table = self.table
        index = word(read(self.home + table["worker_index"], 8), 0)
        return index, half(read(self.home + table["worker_thread"], 4), 0)


def all_bthreads():
    table = layout()
    size = table["task_size"]
    chunks = read(table["chunks"], 8 * table["chunks_len"])
    for (chunk,) in struct.iter_unpack("=Q", chunks):
        if chunk == 0:
            continue
        data = read(chunk, size * table["chunk_tasks"])
        for offset in range(0, len(data), size):
            bthread = Bthread(table, data[offset : offset + size])
            if bthread.state:
                yield bthread


def find(number):
    for bthread in all_bthreads():
        if bthread.id == number:
            return bthread
    raise gdb.GdbError(f"no bthread {number}: it has ended, or never was")


class View(gdb.unwinder.Unwinder):
    """Makes the selected thread's newest frame look as if a suspended bthread had called it."""

    class Id:
        def __init__(self, sp, pc):
            self.sp = sp
            self.pc = pc

    def __init__(self):
        super().__init__("bthread")
        self.sp = 0
        self.newest = None

    def show(self, sp):
        self.sp = 0
        gdb.invalidate_cached_frames()
        if sp:
            frame = gdb.newest_frame()
            pc, stack, _, _ = frame_of(frame.architecture())
            self.newest = int(frame.read_register(pc)), int(frame.read_register(stack))
            self.thread = gdb.selected_thread().ptid
            self.sp = sp
            gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if not self.sp or gdb.selected_thread().ptid != self.thread:
            return None
        pc, stack, size, saved = frame_of(pending.architecture())
        here = int(pending.read_register(pc)), int(pending.read_register(stack))
        if here != self.newest:
            return None
        # gdb wants callers further up, so this frame is said to lie where the saved one begins.
        word_type = pending.read_register(stack).type
        info = pending.create_unwind_info(self.Id(gdb.Value(self.sp).cast(word_type), pending.read_register(pc)))
        data = read(self.sp, size)
        for register, offset in saved.items():
            kind = pending.read_register(register).type
            info.add_saved_register(register, gdb.Value(word(data, offset)).cast(kind))
        info.add_saved_register(stack, gdb.Value(self.sp + size).cast(word_type))
        return info


def frame_of(architecture):
    try:
        return FRAMES[architecture.name()]
    except KeyError:
        raise gdb.GdbError(f"no bthreads on {architecture.name()}") from None


VIEW = View()
gdb.unwinder.register_unwinder(None, VIEW, replace=True)


def print_frames(frame):
    for number in range(FRAMES_MAX):
        if frame is None:
            return
        place = frame.find_sal()
        where = f" at {place.symtab.filename}:{place.line}" if place.symtab else ""
        print(f"#{number:<3} 0x{frame.pc():016x} in {frame.name() or '??'}{where}")
        frame = frame.older()
    print(f"(more than {FRAMES_MAX} frames)")


class Bthreads(gdb.Command):
    """bthreads [PATTERN]: lists all bthreads, or those whose name or state contains PATTERN."""

    def __init__(self):
        super().__init__("bthreads", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        print(f"{'ID':>20}  {'STATE':8} {'WORKER':>6}  {'SP':18} NAME")
        count = shown = 0
        for bthread in all_bthreads():
            count += 1
            name = bthread.name()
            if argument not in name and argument not in bthread.state:
                continue
            shown += 1
            worker = bthread.worker()
            sp = f"0x{bthread.sp:x}" if bthread.sp else "-"
            print(f"{bthread.id:>20}  {bthread.state:8} {worker[0] if worker else '-':>6}  {sp:18} {name}")
        print(f"{shown} of {count} bthreads")


class OneBthread(gdb.Command):
    """bthread ID bt: prints the stack of a bthread. bthread ID: shows it to bt, up, frame. bthread off: no longer."""

    def __init__(self):
        super().__init__("bthread", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        words = gdb.string_to_argv(argument)
        if words == ["off"]:
            VIEW.show(0)
            return
        if len(words) not in (1, 2) or not words[0].isdecimal() or words[1:] not in ([], ["bt"]):
            raise gdb.GdbError("bthread ID, bthread ID bt, or bthread off")
        bthread = find(int(words[0]))
        if bthread.state in ("parked", "ready"):
            self.suspended(bthread, words[1:])
        elif bthread.state == "running":
            self.running(bthread, words[1:])
        else:
            raise gdb.GdbError(f"bthread {bthread.id} has no stack: it is {bthread.state}")

    def suspended(self, bthread, bt):
        VIEW.show(bthread.sp)
        frame = gdb.newest_frame()
        stack = frame_of(frame.architecture())[1]
        # The thread's own may be several, of functions put into one another.
        while frame is not None and int(frame.read_register(stack)) == VIEW.newest[1]:
            frame = frame.older()
        if frame is None:
            VIEW.show(0)
            raise gdb.GdbError("gdb finds no frame there")
        if bt:
            print_frames(frame)
            VIEW.show(0)
        else:
            print(f"the bthread's frames begin with frame {frame.level()}; those before are the thread's own")
            frame.select()

    def running(self, bthread, bt):
        VIEW.show(0)
        worker = bthread.worker()
        threads = gdb.selected_inferior().threads()
        of_worker = [thread for thread in threads if worker and thread.ptid[1] == worker[1]]
        if not of_worker:
            raise gdb.GdbError("the thread that it runs on is not known")
        before = gdb.selected_thread()
        of_worker[0].switch()
        if bt:
            print_frames(gdb.newest_frame())
            before.switch()


Bthreads()
OneBthread()
