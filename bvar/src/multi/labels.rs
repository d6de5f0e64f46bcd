//! The names of labels, the values of one combination, and how combinations are looked up without copying.

use indexmap::Equivalent;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The most labels that one variable can have.
pub const MAX_LABELS: usize = 16;

/// The longest value of a label, in bytes.
pub const MAX_LABEL_VALUE_LEN: usize = 256;

/// Why names of labels were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelsError {
    /// There are none, or more than [`MAX_LABELS`].
    Count(usize),
    /// Not a name: letters, digits and `_`, not beginning with a digit or `__`; or `quantile` or `le`, which
    /// the metrics page uses itself.
    Name(String),
    /// Two labels have this name.
    Twice(String),
}

impl fmt::Display for LabelsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabelsError::Count(count) => write!(f, "{count} labels; there must be 1 to {MAX_LABELS}"),
            LabelsError::Name(name) => write!(f, "{name:?} cannot be the name of a label"),
            LabelsError::Twice(name) => write!(f, "two labels are named {name}"),
        }
    }
}

impl std::error::Error for LabelsError {}

/// The names, once they are seen to be good ones.
pub(super) fn checked(labels: &[&str]) -> Result<Box<[String]>, LabelsError> {
    if labels.is_empty() || labels.len() > MAX_LABELS {
        return Err(LabelsError::Count(labels.len()));
    }
    for (i, label) in labels.iter().enumerate() {
        let is_name = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !label.is_empty()
            && label.len() <= MAX_LABEL_VALUE_LEN
            && !label.starts_with("__")
            && !label.starts_with(|c: char| c.is_ascii_digit())
            && !matches!(*label, "quantile" | "le");
        if !is_name {
            return Err(LabelsError::Name((*label).to_owned()));
        }
        if labels[..i].contains(label) {
            return Err(LabelsError::Twice((*label).to_owned()));
        }
    }
    Ok(labels.iter().map(|label| (*label).to_owned()).collect())
}

/// The values of one combination, shared with whoever lists them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Values(pub(super) Arc<[Box<str>]>);

impl Values {
    pub(super) fn copy_of<S: AsRef<str>>(values: &[S]) -> Self {
        Values(values.iter().map(|value| value.as_ref().into()).collect())
    }
}

/// Values somebody asks for, in strings of any kind.
pub(super) struct Wanted<'a, S>(pub(super) &'a [S]);

/// Equal values in equal order give equal hashes, whatever kind of string they are in.
fn hash_values<'a, H: Hasher>(values: impl Iterator<Item = &'a str>, state: &mut H) {
    values.for_each(|value| value.hash(state));
}

impl Hash for Values {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_values(self.0.iter().map(|value| &**value), state);
    }
}

impl<S: AsRef<str>> Hash for Wanted<'_, S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_values(self.0.iter().map(AsRef::as_ref), state);
    }
}

impl<S: AsRef<str>> Equivalent<Values> for Wanted<'_, S> {
    fn equivalent(&self, key: &Values) -> bool {
        self.0.len() == key.0.len() && self.0.iter().zip(&*key.0).all(|(a, b)| a.as_ref() == &**b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_labels_are_those_a_metrics_page_can_show() {
        assert_eq!(&*checked(&["idc", "_method", "status2"]).unwrap(), ["idc", "_method", "status2"]);
        assert_eq!(checked(&[]), Err(LabelsError::Count(0)));
        let many: Vec<String> = (0..=MAX_LABELS).map(|i| format!("label{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(checked(&many), Err(LabelsError::Count(MAX_LABELS + 1)));
        assert!(checked(&many[1..]).is_ok());
        for wrong in ["", "1a", "a-b", "a b", "ä", "__name__", "quantile", "le", "a\"", "a\n"] {
            assert_eq!(checked(&[wrong]), Err(LabelsError::Name(wrong.into())));
        }
        assert_eq!(checked(&["a", "b", "a"]), Err(LabelsError::Twice("a".into())));
    }
}
