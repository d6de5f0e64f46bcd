//! The program and its libraries as they are loaded now: where their code lies, and their unwind tables.
//!
//! The tables (`.eh_frame`, found through `.eh_frame_hdr`; Linux Standard Base, "DWARF Extensions") are copied once,
//! about a tenth of the size of the code, so that a library that is unloaded meanwhile takes nothing away from
//! whoever reads them. The list is made anew when libraries have come or gone since.
//!
//! Holds unsafe: the loader's list, read inside its callback, where it stays as it is.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use gimli::{
    BaseAddresses, EhFrame, EhFrameHdr, EndianSlice, FrameDescriptionEntry, NativeEndian, Pointer,
    UnwindSection,
};

use super::memory;
use crate::atomic::lock;

/// Bytes of unwind tables taken from one object; those of a larger one are left out, and a trace ends there.
const TABLES_BYTES_MAX: usize = 256 << 20;

type Bytes<'a> = EndianSlice<'a, NativeEndian>;
pub(super) type Function<'a> = FrameDescriptionEntry<Bytes<'a>>;

/// Everything that is loaded.
pub(super) struct Objects {
    version: (u64, u64),
    list: Vec<Object>,
}

/// The program, a shared library, or what the kernel adds.
pub(super) struct Object {
    /// Where it comes from; empty for the program itself.
    pub(super) path: PathBuf,
    /// What to take off an address for the number in the file.
    pub(super) bias: usize,
    code: Vec<Range<usize>>,
    tables: Option<Tables>,
}

/// Copies of the two sections, from their starts.
struct Tables {
    index: Vec<u8>,
    entries: Vec<u8>,
    bases: BaseAddresses,
}

static CURRENT: Mutex<Option<Arc<Objects>>> = Mutex::new(None);

/// What is loaded now.
///
/// *Blocking*: the thread for as long as the loader's lock is held by others; the first time, and after a library has
/// come or gone, for the copy of the tables (a few milliseconds for a large program).
pub(super) fn current() -> Arc<Objects> {
    let mut current = lock(&CURRENT);
    let version = version();
    match &*current {
        Some(objects) if objects.version == version => objects.clone(),
        _ => {
            let objects = Arc::new(Objects::load());
            *current = Some(objects.clone());
            objects
        }
    }
}

/// How many objects were ever loaded and unloaded.
fn version() -> (u64, u64) {
    let mut version = (0, 0);
    each_object(&mut |info| {
        version = (info.dlpi_adds, info.dlpi_subs);
        false
    });
    version
}

/// Shows every loaded object to `visit` until that says no.
fn each_object(visit: &mut dyn FnMut(&libc::dl_phdr_info) -> bool) {
    type Visit<'a> = &'a mut dyn FnMut(&libc::dl_phdr_info) -> bool;

    /// # Safety
    /// For `dl_iterate_phdr` only, with `data` leading to a `Visit`.
    unsafe extern "C" fn show(
        info: *mut libc::dl_phdr_info,
        _: usize,
        data: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader passes a valid description, and what was given it as `data`.
        let (info, visit) = unsafe { (&*info, &mut *data.cast::<Visit<'_>>()) };
        libc::c_int::from(!visit(info))
    }
    let mut visit: Visit<'_> = visit;
    // SAFETY: `show` is called with this pointer while this call lasts. A panic in `visit` ends the process.
    unsafe { libc::dl_iterate_phdr(Some(show), (&raw mut visit).cast()) };
}

impl Objects {
    fn load() -> Objects {
        let mut objects = Objects { version: (0, 0), list: Vec::new() };
        each_object(&mut |info| {
            objects.version = (info.dlpi_adds, info.dlpi_subs);
            objects.list.push(Object::load(info));
            true
        });
        objects
    }

    /// The object whose code `address` is in.
    pub(super) fn at(&self, address: usize) -> Option<&Object> {
        self.list.iter().find(|object| object.code.iter().any(|code| code.contains(&address)))
    }
}

impl Object {
    fn load(info: &libc::dl_phdr_info) -> Object {
        let bias = info.dlpi_addr as usize;
        // SAFETY: inside the loader's callback the headers and the name stay where they are.
        let (headers, path) = unsafe {
            let headers = match info.dlpi_phdr.is_null() {
                true => &[][..],
                false => std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()),
            };
            let name = info.dlpi_name;
            (headers, if name.is_null() { c"" } else { CStr::from_ptr(name) })
        };
        let range = |header: &libc::Elf64_Phdr| {
            let start = bias.wrapping_add(header.p_vaddr as usize);
            start..start.saturating_add(header.p_memsz as usize)
        };
        let loaded = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
        let index = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME).map(range);
        Object {
            path: PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes())),
            bias,
            code: loaded().filter(|header| header.p_flags & libc::PF_X != 0).map(range).collect(),
            tables: index.and_then(|index| Tables::copy(index, loaded().map(range))),
        }
    }

    /// The function that `address` is in, and how to unwind it; none if the object does not tell.
    pub(super) fn function(
        &self,
        address: usize,
    ) -> Option<(Function<'_>, EhFrame<Bytes<'_>>, &BaseAddresses)> {
        let tables = self.tables.as_ref()?;
        let index = EhFrameHdr::new(&tables.index, NativeEndian).parse(&tables.bases, 8).ok()?;
        let mut entries = EhFrame::new(&tables.entries, NativeEndian);
        if cfg!(target_arch = "aarch64") {
            entries.set_vendor(gimli::Vendor::AArch64);
        }
        let function = index
            .table()?
            .fde_for_address(&entries, &tables.bases, address as u64, EhFrame::cie_from_offset)
            .ok()?;
        Some((function, entries, &tables.bases))
    }
}

impl Tables {
    fn copy(index: Range<usize>, mut loaded: impl Iterator<Item = Range<usize>>) -> Option<Tables> {
        let bases = BaseAddresses::default().set_eh_frame_hdr(index.start as u64);
        let index = copied(index)?;
        let parsed = EhFrameHdr::new(&index, NativeEndian).parse(&bases, 8).ok()?;
        let Pointer::Direct(start) = parsed.eh_frame_ptr() else { return None };
        // The section's length stands nowhere: it ends with an empty entry, before its segment does.
        let segment = loaded.find(|segment| segment.contains(&(start as usize)))?;
        let entries = copied(start as usize..segment.end)?;
        Some(Tables { index, entries, bases: bases.set_eh_frame(start) })
    }
}

/// What can be read of a range; none if it is too large.
fn copied(range: Range<usize>) -> Option<Vec<u8>> {
    if range.len() > TABLES_BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; range.len()];
    let count = memory::copy(range.start, &mut bytes);
    bytes.truncate(count);
    Some(bytes)
}
