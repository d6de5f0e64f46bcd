//! The format of `go tool pprof`: the messages of `profile.proto` (package `perftools.profiles`), compressed.
//!
//! Fields and numbers are those of the published file. Strings, functions, locations and mappings are tables that the
//! samples refer to by number; each entry stands once.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use flate2::{Compression, write::GzEncoder};
use prost::Message;

use crate::mappings::Mappings;
use crate::profile::Profile;
use crate::symbol::Symbols;

#[derive(Clone, PartialEq, Message)]
struct PprofProfile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<PprofValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<PprofSample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<PprofMapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<PprofLocation>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<PprofFunction>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<PprofValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PprofValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct PprofSample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<PprofLabel>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PprofLabel {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PprofMapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(uint64, tag = "4")]
    file_offset: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PprofLocation {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<PprofLine>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PprofLine {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PprofFunction {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

pub(super) fn write(profile: &Profile, symbols: &Symbols) -> Vec<u8> {
    let bytes = Tables::default().message(profile, symbols).encode_to_vec();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    // Memory takes whatever is written.
    gzip.write_all(&bytes).and_then(|()| gzip.finish()).expect("a Vec takes all bytes")
}

/// The numbers of what is in the tables.
#[derive(Default)]
struct Tables {
    strings: HashMap<Arc<str>, i64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<usize, u64>,
    message: PprofProfile,
}

impl Tables {
    fn message(mut self, profile: &Profile, symbols: &Symbols) -> PprofProfile {
        self.string(""); // the format's own rule: number 0
        let types = profile
            .value_types()
            .map(|one| PprofValueType { r#type: self.string(one.name), unit: self.string(one.unit) });
        self.message.sample_type = types.to_vec();
        self.message.period_type = Some(types[1]);
        self.message.default_sample_type = types[1].r#type;
        self.message.period = profile.period();
        let started = profile.started().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.message.time_nanos = i64::try_from(started.as_nanos()).unwrap_or(i64::MAX);
        self.message.duration_nanos = i64::try_from(profile.duration().as_nanos()).unwrap_or(i64::MAX);

        let mappings = Mappings::of_this_process();
        self.add_mappings(&mappings);
        for sample in profile.samples() {
            let location_id = sample.frames.iter().map(|address| self.location(*address, &mappings, symbols));
            let location_id = location_id.collect();
            let label =
                sample.label.map(|label| PprofLabel { key: self.string("what"), str: self.string(label) });
            let label = label.into_iter().collect();
            self.message.sample.push(PprofSample { location_id, value: sample.values.to_vec(), label });
        }
        if profile.lost() > 0 {
            let comment = self.string(&format!("{} samples found no buffer", profile.lost()));
            self.message.comment.push(comment);
        }
        self.message
    }

    /// All of them, the program's own first, as tools expect. Names are found already, so that none need look again.
    fn add_mappings(&mut self, mappings: &Mappings) {
        let build_ids = mappings.build_ids();
        for (number, mapping) in mappings.list().iter().enumerate() {
            let filename = self.string(&mapping.path);
            let build_id = build_ids.get(&*mapping.path).and_then(Option::as_ref);
            let build_id = build_id.map_or(0, |id| self.string(id));
            self.message.mapping.push(PprofMapping {
                id: number as u64 + 1,
                memory_start: mapping.start as u64,
                memory_limit: mapping.end as u64,
                file_offset: mapping.offset,
                filename,
                build_id,
                has_functions: true,
                has_filenames: true,
                has_line_numbers: true,
                has_inline_frames: true,
            });
        }
        let program = std::env::current_exe().unwrap_or_default();
        let first = mappings.list().iter().position(|mapping| program.as_os_str() == &*mapping.path);
        if let Some(first) = first {
            self.message.mapping[..=first].rotate_right(1);
        }
    }

    fn location(&mut self, address: usize, mappings: &Mappings, symbols: &Symbols) -> u64 {
        if let Some(id) = self.locations.get(&address) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        let line = symbols.at(address).iter().map(|function| PprofLine {
            function_id: self.function(&function.name, &function.file),
            line: function.line.into(),
        });
        let line = line.collect();
        let mapping_id = mappings.index_of(address).map_or(0, |number| number as u64 + 1);
        self.message.location.push(PprofLocation { id, mapping_id, address: address as u64, line });
        self.locations.insert(address, id);
        id
    }

    fn function(&mut self, name: &Arc<str>, file: &Arc<str>) -> u64 {
        let (name, filename) = (self.string(name), self.string(file));
        let next = self.functions.len() as u64 + 1;
        let functions = &mut self.message.function;
        *self.functions.entry((name, filename)).or_insert_with(|| {
            functions.push(PprofFunction { id: next, name, system_name: name, filename });
            next
        })
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(number) = self.strings.get(text) {
            return *number;
        }
        let number = self.message.string_table.len() as i64;
        self.message.string_table.push(text.to_owned());
        self.strings.insert(text.into(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::Kind;
    use crate::profile::tests::profile;

    #[test]
    fn what_is_written_can_be_read_and_refers_to_what_is_there() {
        let [inner, outer] = [write as *const () as usize, super::super::folded::write as *const () as usize];
        let profile =
            profile(Kind::Contention, &[(&[inner, outer], [3, 30]), (&[outer], [-1, -10]), (&[1], [1, 1])]);
        let written = write(&profile, &Symbols::of(&profile));
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&written[..]).read_to_end(&mut bytes).unwrap();
        let read = PprofProfile::decode(&bytes[..]).unwrap();
        let text = |number: i64| &*read.string_table[usize::try_from(number).unwrap()];
        assert_eq!(text(0), "");
        let types: Vec<_> = read.sample_type.iter().map(|one| (text(one.r#type), text(one.unit))).collect();
        assert_eq!(types, [("contentions", "count"), ("delay", "nanoseconds")]);
        let names = |sample: &PprofSample| -> Vec<&str> {
            let locations =
                sample.location_id.iter().map(|id| read.location.iter().find(|one| one.id == *id));
            let lines = locations.flat_map(|location| &location.unwrap().line);
            let functions = lines.map(|line| read.function.iter().find(|one| one.id == line.function_id));
            functions.map(|function| text(function.unwrap().name)).collect()
        };
        assert_eq!(read.sample[0].value, [3, 30]);
        assert!(names(&read.sample[0])[0].ends_with("pprof::write"), "{:?}", names(&read.sample[0]));
        assert_eq!(read.sample[1].value, [-1, -10]);
        assert_eq!(names(&read.sample[2]), ["0x1"]);
        let location = read.location.iter().find(|one| one.address == inner as u64).unwrap();
        let mapping = read.mapping.iter().find(|one| one.id == location.mapping_id).unwrap();
        assert!((mapping.memory_start..mapping.memory_limit).contains(&(inner as u64)));
        assert_eq!(text(mapping.filename), std::env::current_exe().unwrap().to_str().unwrap());
        assert_eq!(text(read.mapping[0].filename), text(mapping.filename));
    }
}
