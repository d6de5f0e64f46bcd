//! The fields (headers) of one head: where each of them lies in the head's bytes.
//!
//! Nothing is copied out of the head and nothing allocated for a field; the types of the `http` crate are made when a
//! user asks for them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Fields that are listed without an allocation.
const LISTED_INLINE: usize = 16;

/// The most fields of one message (nginx and hyper have the same). More: 431.
pub(crate) const FIELDS_MAX: usize = 100;

/// The fields of a head, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Fields {
    bytes: Bytes,
    places: Places,
}

/// Where fields lie.
pub(super) type Places = SmallVec<[Place; LISTED_INLINE]>;

/// Where one field lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
}

impl Fields {
    /// The fields of a head that lie in these places.
    pub(super) fn new(bytes: Bytes, places: Places) -> Self {
        Fields { bytes, places }
    }

    /// Where the fields lie that `httparse` has found in `bytes`: their slices must be of these bytes.
    pub(super) fn places(bytes: &[u8], parsed: &[httparse::Header<'_>]) -> Places {
        let base = bytes.as_ptr() as usize;
        parsed
            .iter()
            .map(|field| Place {
                // A head is smaller than 4 GiB by far, so nothing is cut off.
                name: (field.name.as_ptr() as usize - base) as u32,
                name_len: field.name.len() as u32,
                // An empty value need not point into the head.
                value: if field.value.is_empty() { 0 } else { (field.value.as_ptr() as usize - base) as u32 },
                value_len: field.value.len() as u32,
            })
            .collect()
    }

    /// Name and value of each field.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places.iter().map(|place| {
            let name = &self.bytes[place.name as usize..][..place.name_len as usize];
            (name, &self.bytes[place.value as usize..][..place.value_len as usize])
        })
    }

    /// The values of all fields with this name, given in lower case.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(|(known, _)| known.len() == name.len() && known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first field with this name, given in lower case.
    pub(crate) fn get<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The bytes of the whole head.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// As the `http` crate has them: names in lower case, values as slices of the head.
    pub(crate) fn to_header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.places.len());
        for (place, (name, _)) in self.places.iter().zip(self.iter()) {
            let begin = place.value as usize;
            let value = self.bytes.slice(begin..begin + place.value_len as usize);
            // Both accept at least what the parser has accepted.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(value))
            {
                map.append(name, value);
            }
        }
        map
    }
}

/// The elements of a comma-separated list, without the blanks around them; empty ones are left out.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
