//! Histories for charts: the last 60 seconds, 60 minutes, 24 hours and 30 days of an exposed variable.
//!
//! Owns the rings; `spec/bvar.md` §6 says what they hold. A ring has memory once something other than 0 came into it:
//! 100,000 idle variables cost little. Must never hold its lock while a variable is read.

use crate::variable::{Trend, Value, Variable, write_json_string};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
// Relaxed: a switch that orders nothing.
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Values in each ring: seconds, minutes, hours, days.
const LEVELS: [u8; 4] = [60, 60, 24, 30];

/// Elements of a vector that have a history; those behind have none.
pub const MAX_SERIES_ELEMENTS: usize = 64;

static ENABLED: AtomicBool = AtomicBool::new(true);

/// Switches the histories of the whole process off or on again; what was kept stays. They are on at first.
///
/// *Blocking:* no.
pub fn save_series(enabled: bool) {
    ENABLED.store(enabled, Relaxed);
}

pub(crate) fn is_enabled() -> bool {
    ENABLED.load(Relaxed)
}

/// The history of an exposed variable.
pub(crate) struct History {
    trend: Trend,
    state: Mutex<State>,
}

enum State {
    Nothing,
    /// The variable turned out to be text.
    Text,
    Number(Box<Rings>),
    Vector(Vec<Rings>),
}

impl History {
    pub(crate) fn new(trend: Trend) -> Self {
        History { trend, state: Mutex::new(State::Nothing) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the value of a second.
    pub(crate) fn append(&self, variable: &dyn Variable) {
        if self.trend == Trend::None || matches!(*self.state(), State::Text) {
            return;
        }
        // A panic of the user's code, which the panic hook has reported, costs this second.
        let Ok(value) = catch_unwind(AssertUnwindSafe(|| variable.trend_value())) else { return };
        let mut state = self.state();
        match (&mut *state, value) {
            (_, Value::Text(_)) => *state = State::Text,
            (State::Vector(rings), Value::Vector(elements)) => {
                rings.resize_with(elements.len().min(MAX_SERIES_ELEMENTS), Rings::default);
                rings.iter_mut().zip(&elements).for_each(|(rings, value)| rings.append(value, self.trend));
            }
            (State::Number(rings), value) => rings.append(&value, self.trend),
            (_, Value::Vector(elements)) => {
                let elements = elements.iter().take(MAX_SERIES_ELEMENTS);
                *state = State::Vector(elements.map(|value| Rings::of(value, self.trend)).collect());
            }
            (_, value) => *state = State::Number(Box::new(Rings::of(&value, self.trend))),
        }
    }

    pub(crate) fn to_json(&self, variable: &dyn Variable) -> Option<String> {
        let names = variable.element_names();
        let mut json = String::new();
        match &*self.state() {
            State::Nothing | State::Text => return None,
            State::Number(rings) => rings.write(&mut json, "trend"),
            State::Vector(elements) => {
                for (i, rings) in elements.iter().enumerate() {
                    json.push(if i == 0 { '[' } else { ',' });
                    match names.get(i) {
                        Some(name) => rings.write(&mut json, name),
                        None => rings.write(&mut json, &format!("Vector[{i}]")),
                    }
                }
                json.push_str(if elements.is_empty() { "[]" } else { "]" });
            }
        }
        Some(json)
    }
}

/// The four rings of one number.
#[derive(Default)]
struct Rings {
    /// Rounded averages, printed as integers.
    is_integer: bool,
    /// Empty as long as everything in it would be 0.
    levels: [Vec<f64>; LEVELS.len()],
    /// Where the next value of each ring goes, which is where its oldest is.
    next: [u8; LEVELS.len()],
}

impl Rings {
    fn of(value: &Value, trend: Trend) -> Self {
        let mut rings = Rings::default();
        rings.append(value, trend);
        rings
    }

    fn append(&mut self, value: &Value, trend: Trend) {
        self.is_integer = !matches!(value, Value::Float(_));
        // What is no number, in a vector or as a float, has no place in a chart.
        self.push(0, value.as_f64().filter(|value| value.is_finite()).unwrap_or(0.0), trend);
    }

    fn push(&mut self, level: usize, value: f64, trend: Trend) {
        let len = usize::from(LEVELS[level]);
        let ring = &mut self.levels[level];
        if ring.is_empty() && value != 0.0 {
            ring.resize(len, 0.0);
        }
        if let Some(place) = ring.get_mut(usize::from(self.next[level])) {
            *place = value;
        }
        self.next[level] = (self.next[level] + 1) % LEVELS[level];
        if self.next[level] == 0 && level + 1 < LEVELS.len() {
            let whole = self.combine(level, trend);
            self.push(level + 1, whole, trend);
        }
    }

    /// A full ring as one value.
    fn combine(&self, level: usize, trend: Trend) -> f64 {
        let ring = &self.levels[level];
        let values = ring.iter().copied();
        if ring.is_empty() {
            return 0.0;
        }
        match trend {
            Trend::Max => values.fold(f64::NEG_INFINITY, f64::max),
            Trend::Min => values.fold(f64::INFINITY, f64::min),
            Trend::None | Trend::Average => {
                let average = values.sum::<f64>() / ring.len() as f64;
                if self.is_integer { average.round() } else { average }
            }
        }
    }

    fn write(&self, json: &mut String, label: &str) {
        json.push_str("{\"label\":");
        write_json_string(json, label).expect("a string takes it");
        json.push_str(",\"data\":[");
        let mut x = 0;
        for (level, len) in LEVELS.iter().enumerate().rev() {
            for i in 0..*len {
                let at = usize::from((self.next[level] + i) % len);
                let value = self.levels[level].get(at).copied().unwrap_or(0.0);
                let comma = if x == 0 { "" } else { "," };
                write!(json, "{comma}[{x},{value}]").expect("a string takes it");
                x += 1;
            }
        }
        json.push_str("]}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PassiveStatus, Status};

    /// The values of a history, by the labels.
    fn values(json: &str) -> Vec<(String, Vec<f64>)> {
        let objects = json.split("{\"label\":\"").skip(1);
        let parse = |object: &str| {
            let (label, rest) = object.split_once("\",\"data\":[[").unwrap();
            let points = rest[..rest.find("]]").unwrap()].split("],[").enumerate();
            let value = |(i, point): (usize, &str)| {
                let (x, y) = point.split_once(',').unwrap();
                assert_eq!(x.parse(), Ok(i));
                y.parse().unwrap()
            };
            (label.to_owned(), points.map(value).collect())
        };
        objects.map(parse).collect()
    }

    fn history(trend: Trend, values: impl IntoIterator<Item = Value>) -> (History, Status<Value>) {
        let history = History::new(trend);
        let status = Status::new(Value::Int(0));
        for value in values {
            status.set(value);
            history.append(&status);
        }
        (history, status)
    }

    #[test]
    fn seconds_become_minutes_hours_and_days() {
        const DAY: i64 = 24 * 60 * 60;
        let (average, status) = history(Trend::Average, (0..2 * DAY).map(Value::Int));
        let seen = values(&average.to_json(&status).unwrap());
        let (label, seen) = &seen[0];
        assert_eq!((label.as_str(), seen.len()), ("trend", 174));
        assert_eq!(seen[..28], [0.0; 28]);
        // Averages are rounded at each level.
        assert!(
            (seen[28] - 43_199.5).abs() < 2.0 && (seen[29] - 129_599.5).abs() < 2.0,
            "{:?}",
            &seen[28..30]
        );
        assert!((seen[53] - (2 * DAY - 1800) as f64).abs() < 2.0, "the last hour");
        assert!((seen[113] - (2 * DAY - 30) as f64).abs() < 2.0, "the last minute");
        assert_eq!((seen[114], seen[173]), ((2 * DAY - 60) as f64, (2 * DAY - 1) as f64));
    }

    #[test]
    fn maxima_and_minima_are_not_averaged() {
        let wave = || (0..120).map(|i| Value::Int(if i % 60 == 7 { 1000 } else { 10 + i % 60 }));
        let minute = |trend| {
            let (history, status) = history(trend, wave());
            let json = history.to_json(&status).unwrap();
            values(&json)[0].1[113]
        };
        assert_eq!((minute(Trend::Max), minute(Trend::Min)), (1000.0, 10.0));
        assert_eq!(minute(Trend::Average), (((10..70).sum::<i64>() - 17 + 1000) as f64 / 60.0).round());
    }

    #[test]
    fn floats_are_not_rounded_and_odd_ones_are_left_out() {
        let (history, status) =
            history(Trend::Average, [0.5, f64::NAN, f64::INFINITY, 2.25].map(Value::Float));
        assert_eq!(values(&history.to_json(&status).unwrap())[0].1[170..], [0.5, 0.0, 0.0, 2.25]);
    }

    #[test]
    fn vectors_have_an_object_for_each_element() {
        let vector = PassiveStatus::new(|| [1i64, 2]).with_element_names(["a \"b\""]);
        let history = History::new(vector.trend());
        assert_eq!(history.to_json(&vector), None);
        history.append(&vector);
        let json = history.to_json(&vector).unwrap();
        assert!(json.starts_with(r#"[{"label":"a \"b\"","data":[[0,0],"#), "{json}");
        assert!(json.contains(r#"[173,1]]},{"label":"Vector[1]","data":[[0,0],"#), "{json}");
        assert!(json.ends_with("[173,2]]}]"), "{json}");
    }

    #[test]
    fn text_and_panics_are_no_history() {
        let (text, status) = history(Trend::Average, [Value::from("a"), Value::from(1i64)]);
        assert_eq!(text.to_json(&status), None);
        let history = History::new(Trend::Average);
        history.append(&PassiveStatus::new(|| -> i64 { panic!("the user's") }));
        assert_eq!(history.to_json(&status), None);
    }

    #[test]
    fn zeros_take_no_memory() {
        let (zeros, _) = history(Trend::Average, (0..4000).map(|_| Value::Int(0)));
        let State::Number(rings) = &*zeros.state() else { panic!("a number") };
        assert!(rings.levels.iter().all(|ring| ring.capacity() == 0));
    }
}
