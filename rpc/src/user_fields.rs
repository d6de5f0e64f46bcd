//! Free pairs of texts that travel with a request or a reply, on protocols that carry them.

use std::collections::BTreeMap;

/// A map from text to text; empty, it takes no memory of its own. Setting a key again replaces its value.
///
/// ```
/// let mut fields = rpc::UserFields::default();
/// fields.set("tenant", "blue");
/// assert_eq!(fields.get("tenant"), Some("blue"));
/// assert_eq!(fields.iter().collect::<Vec<_>>(), [("tenant", "blue")]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFields(
    /// `None`: there is none.
    #[expect(
        clippy::box_collection,
        reason = "few requests have any, and all carry this: a word instead of three"
    )]
    Option<Box<BTreeMap<String, String>>>,
);

impl UserFields {
    /// Sets a value, replacing that of the same key.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.get_or_insert_default().insert(key.into(), value.into());
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.as_ref()?.get(key).map(String::as_str)
    }

    /// The pairs, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|fields| fields.iter()).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |fields| fields.len())
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}
