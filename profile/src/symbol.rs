//! Names of addresses in this process: functions, those that the compiler has put into them, files and lines.
//!
//! Names come from the debug information of the program and its libraries (`debug = "line-tables-only"` is enough), else
//! from their symbol tables, else they are the object and the offset in it. With line tables alone, functions come
//! without the names of their modules; full debug information has those too. What was looked up is remembered, within a
//! bound. Must never run a program, as brpc's pages do.

use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::mappings::Mappings;
use crate::profile::Profile;

/// Addresses that one call or request may ask for; the rest is not answered.
pub const ADDRESSES_MAX: usize = 1 << 16;
/// Addresses whose functions are remembered; when it is full, all are forgotten.
const REMEMBERED_MAX: usize = 1 << 16;
/// Functions at one address: one, and those put into it. Outer ones beyond are left out.
const FUNCTIONS_MAX: usize = 32;
/// Bytes of a name; a longer one is cut.
const NAME_BYTES_MAX: usize = 1024;

/// A function at an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: Arc<str>,
    /// The path as the compiler was given it; empty if not known.
    pub(crate) file: Arc<str>,
    /// 0 if not known.
    pub(crate) line: u32,
}

/// The functions at one address, the innermost first. Never empty.
type Functions = Arc<[Function]>;

static REMEMBERED: Mutex<Option<HashMap<usize, Functions>>> = Mutex::new(None);

/// The functions of some addresses.
pub(crate) struct Symbols(HashMap<usize, Functions>);

impl Symbols {
    /// Those of a profile. Blocks the thread: it may read debug information from files.
    pub(crate) fn of(profile: &Profile) -> Symbols {
        let addresses = profile.samples().iter().flat_map(|sample| sample.frames.iter().copied());
        Symbols::of_addresses(addresses)
    }

    fn of_addresses(addresses: impl Iterator<Item = usize>) -> Symbols {
        let mut found = HashMap::new();
        let mut mappings = None;
        for address in addresses {
            found.entry(address).or_insert_with(|| {
                let remembered = with_remembered(|remembered| remembered.get(&address).cloned());
                remembered.unwrap_or_else(|| {
                    let functions = look_up(address, mappings.get_or_insert_with(Mappings::of_this_process));
                    with_remembered(|remembered| {
                        if remembered.len() >= REMEMBERED_MAX {
                            remembered.clear();
                        }
                        remembered.insert(address, functions.clone());
                    });
                    functions
                })
            });
        }
        Symbols(found)
    }

    /// The functions at an address, the innermost first.
    pub(crate) fn at(&self, address: usize) -> &[Function] {
        self.0.get(&address).map_or(&[], |functions| functions)
    }
}

fn with_remembered<R>(f: impl FnOnce(&mut HashMap<usize, Functions>) -> R) -> R {
    f(REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

fn look_up(address: usize, mappings: &Mappings) -> Functions {
    let mut functions = Vec::new();
    // It takes return addresses, and looks at the one before.
    backtrace::resolve(std::ptr::without_provenance_mut::<c_void>(address.wrapping_add(1)), |symbol| {
        let Some(name) = symbol.name() else { return };
        if functions.len() < FUNCTIONS_MAX {
            functions.push(Function {
                name: cut(format!("{name:#}")).into(),
                file: symbol.filename().map_or_else(|| Arc::from(""), |file| file.to_string_lossy().into()),
                line: symbol.lineno().unwrap_or(0),
            });
        }
    });
    if functions.is_empty() {
        let name = match mappings.at(address) {
            Some(mapping) => format!("{}+{:#x}", mapping.short_name(), mapping.offset_of(address)),
            None => format!("{address:#x}"),
        };
        functions.push(Function { name: cut(name).into(), file: "".into(), line: 0 });
    }
    functions.into()
}

fn cut(mut name: String) -> String {
    if name.len() > NAME_BYTES_MAX {
        let end = (0..=NAME_BYTES_MAX).rev().find(|end| name.is_char_boundary(*end));
        name.truncate(end.unwrap_or(0));
    }
    name
}

/// The names of the functions at these addresses; where the compiler has put functions into one another, the innermost.
/// None for an address that is in nothing that is loaded. At most
/// [`ADDRESSES_MAX`]; the names of the rest are left out.
///
/// *Blocking*: parks the calling bthread, or blocks the calling thread: it may read debug information from files.
///
/// ```
/// let here = profile::symbol::names as *const () as usize;
/// assert!(profile::symbol::names(&[here])[0].as_ref().unwrap().contains("names"));
/// assert_eq!(profile::symbol::names(&[1]), [None]);
/// ```
pub fn names(addresses: &[usize]) -> Vec<Option<String>> {
    let addresses = &addresses[..addresses.len().min(ADDRESSES_MAX)];
    bthread::blocking(|| {
        let symbols = Symbols::of_addresses(addresses.iter().copied());
        let mappings = Mappings::of_this_process();
        let name = |address: &usize| {
            mappings.at(*address)?;
            symbols.at(*address).first().map(|function| function.name.to_string())
        };
        addresses.iter().map(name).collect()
    })
}

/// What `/pprof/symbol` answers to a POST: for `0xA+0xB`, a line of address, tab and name for each. What is no address,
/// and what is beyond [`ADDRESSES_MAX`], is left out; an address without a name stands for itself.
///
/// *Blocking*: as [`names`].
///
/// ```
/// assert_eq!(profile::symbol::answer("0x1+nonsense"), "0x1\t0x1\n");
/// ```
pub fn answer(body: &str) -> String {
    let hex = |word: &str| {
        let word = word.trim();
        usize::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
    };
    let addresses: Vec<usize> = body.split('+').filter_map(hex).take(ADDRESSES_MAX).collect();
    let mut lines = String::new();
    for (address, name) in addresses.iter().zip(names(&addresses)) {
        // Writing to a string does not fail. A name is one line.
        let _ = match name {
            Some(name) => writeln!(lines, "{address:#x}\t{}", name.replace(['\n', '\r'], " ")),
            None => writeln!(lines, "{address:#x}\t{address:#x}"),
        };
    }
    lines
}

/// What `/pprof/symbol` answers to a GET as `num_symbols: N`: tools ask only whether it is 0. Functions are looked up
/// one by one and never counted; it is the number of mappings with code. *Blocking*: reads a file of `/proc`.
pub fn count() -> usize {
    Mappings::of_this_process().list().len()
}
