//! What is mapped with the right to be executed, and the build ids of the files behind: pprof wants them.
//!
//! Read from `/proc/self/maps` and the files themselves. What cannot be read is left out.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;

/// Mappings looked at; those beyond are left out.
const MAPPINGS_MAX: usize = 1 << 14;
/// Bytes of `/proc/self/maps` that are read.
const MAPS_BYTES_MAX: u64 = 16 << 20;
/// Bytes of the notes of one file that are read.
const NOTES_BYTES_MAX: usize = 64 << 10;
/// Program headers of one file that are looked at.
const HEADERS_MAX: usize = 128;

/// One range of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Where in the file it begins.
    pub(crate) offset: u64,
    /// The file, or a name of the kernel's as `[vdso]`.
    pub(crate) path: String,
}

impl Mapping {
    /// The last part of the path.
    pub(crate) fn short_name(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        if name.is_empty() { "(anonymous)" } else { name }
    }

    /// Where in the file an address of this mapping lies.
    pub(crate) fn offset_of(&self, address: usize) -> u64 {
        (address.wrapping_sub(self.start) as u64).wrapping_add(self.offset)
    }

    fn parse(line: &str) -> Option<Mapping> {
        let mut words = line.splitn(6, ' ');
        let (range, rights, offset) = (words.next()?, words.next()?, words.next()?);
        let path = words.nth(2).unwrap_or_default().trim_start();
        let (start, end) = range.split_once('-')?;
        let hex = |word| usize::from_str_radix(word, 16).ok();
        rights.contains('x').then_some(Mapping {
            start: hex(start)?,
            end: hex(end)?,
            offset: u64::from_str_radix(offset, 16).ok()?,
            path: path.to_owned(),
        })
    }

    /// The build id as hexadecimal digits, if the file has one.
    pub(crate) fn build_id(&self) -> Option<String> {
        // Names of the kernel's are no files; this program's own may be gone from where it was.
        let program = fs::read_link("/proc/self/exe").is_ok_and(|exe| exe.as_os_str() == &*self.path);
        let path = if program { "/proc/self/exe" } else { &*self.path };
        let is_file = self.path.starts_with('/') && fs::metadata(path).is_ok_and(|data| data.is_file());
        is_file.then(|| build_id(&File::open(path).ok()?)).flatten()
    }
}

/// All of them, by rising address.
pub(crate) struct Mappings(Vec<Mapping>);

impl Mappings {
    pub(crate) fn of_this_process() -> Mappings {
        Mappings(text().lines().filter_map(Mapping::parse).take(MAPPINGS_MAX).collect())
    }

    pub(crate) fn list(&self) -> &[Mapping] {
        &self.0
    }

    pub(crate) fn at(&self, address: usize) -> Option<&Mapping> {
        self.index_of(address).map(|index| &self.0[index])
    }

    /// Where in the list the mapping stands that an address lies in.
    pub(crate) fn index_of(&self, address: usize) -> Option<usize> {
        let next = self.0.partition_point(|mapping| mapping.start <= address);
        next.checked_sub(1).filter(|index| address < self.0[*index].end)
    }

    /// The build ids of the mappings, by path: each file is looked at once, whether it has one or not.
    pub(crate) fn build_ids(&self) -> HashMap<&str, Option<String>> {
        let mut ids = HashMap::new();
        for mapping in &self.0 {
            ids.entry(&*mapping.path).or_insert_with(|| mapping.build_id());
        }
        ids
    }
}

/// The kernel's own text.
pub(crate) fn text() -> String {
    let mut text = Vec::new();
    if let Ok(file) = File::open("/proc/self/maps") {
        // What came before an error is as good as the whole for who only looks for names.
        let _ = file.take(MAPS_BYTES_MAX).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The note `NT_GNU_BUILD_ID` of an ELF file of 64 bits and this machine's byte order (elf(5)).
fn build_id(file: &File) -> Option<String> {
    const PT_NOTE: u32 = 4;
    const NT_GNU_BUILD_ID: u32 = 3;
    let bytes = |offset: u64, length: usize| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    };
    let header = bytes(0, 64)?;
    if header[..5] != *b"\x7fELF\x02" {
        return None;
    }
    let (table, size, count) = (word64(&header, 32)?, word16(&header, 54)?, word16(&header, 56)?);
    for index in 0..usize::from(count).min(HEADERS_MAX) {
        let program = bytes(table.checked_add(index as u64 * u64::from(size))?, 56)?;
        if word32(&program, 0)? != PT_NOTE {
            continue;
        }
        let length = usize::try_from(word64(&program, 32)?).ok()?.min(NOTES_BYTES_MAX);
        let notes = bytes(word64(&program, 8)?, length)?;
        let mut rest = &notes[..];
        while let (Some(name), Some(content), Some(kind)) =
            (word32(rest, 0), word32(rest, 4), word32(rest, 8))
        {
            let content_at = 12 + (name as usize).next_multiple_of(4);
            let end = content_at + content as usize;
            let Some(content) = rest.get(content_at..end) else { break };
            if kind == NT_GNU_BUILD_ID && rest.get(12..16) == Some(b"GNU\0") {
                return Some(content.iter().map(|byte| format!("{byte:02x}")).collect());
            }
            rest = rest.get(end.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    None
}

fn word16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn word64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "7f00-7f80 r-xp 00001000 08:01 1234                       /lib/a b.so";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!((mapping.start, mapping.end, mapping.offset), (0x7f00, 0x7f80, 0x1000));
        assert_eq!((&*mapping.path, mapping.short_name()), ("/lib/a b.so", "a b.so"));
        assert_eq!(mapping.offset_of(0x7f10), 0x1010);
        assert_eq!(Mapping::parse("7f00-7f80 rw-p 00001000 08:01 1234 /lib/a.so"), None);
        assert_eq!(Mapping::parse("7f00-7f80 r-xp 00000000 00:00 0 ").unwrap().path, "");
        assert_eq!(Mapping::parse("nonsense"), None);
    }

    #[test]
    fn this_program_is_found_and_has_a_build_id() {
        let mappings = Mappings::of_this_process();
        let here = mappings.at(build_id as *const () as usize).unwrap();
        let exe = fs::read_link("/proc/self/exe").unwrap();
        assert_eq!(here.path, exe.to_str().unwrap());
        // The linker of this machine may not write one; what there is are digits.
        if let Some(id) = here.build_id() {
            assert!(id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
        assert!(mappings.at(0).is_none());
    }
}
