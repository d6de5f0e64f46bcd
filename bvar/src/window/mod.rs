//! Values over the last seconds, and rates.
//!
//! Owns the length of a window and nothing else: the samples belong to the variable that it looks at. Must
//! never touch the write path of that variable.

use crate::reducer::{Arithmetic, Number, Reducer, Sum};
use crate::sampler::Sampler;
use crate::sampling::{self, Sampled};
use crate::status::PassiveStatus;
use crate::variable::{Trend, Value, Variable};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// The longest window, in seconds; a longer one is this long.
pub const MAX_WINDOW_SECONDS: u32 = 3600;

/// The length of a window that asks for 0 seconds: as far apart as dumps are.
pub(crate) fn default_window() -> u32 {
    crate::dump::DUMP_INTERVAL.get().max(1) as u32
}

/// The seconds that a window which asks for `seconds` has.
pub(crate) fn length(seconds: u32) -> u32 {
    let seconds = if seconds == 0 { default_window() } else { seconds };
    seconds.min(MAX_WINDOW_SECONDS)
}

/// What a variable got in the last seconds: the sum of an [`Adder`](crate::Adder), the largest or smallest value of a
/// [`Maxer`](crate::Maxer) or [`Miner`](crate::Miner), the average of an [`IntRecorder`](crate::IntRecorder),
/// by how much a [`PassiveStatus`] grew, the distribution of a [`Histogram`](crate::Histogram).
///
/// It ends at the last tick of the [`Sampler`], at most a second ago. Before the first tick it is what the
/// variable is without any value. The variable itself is not changed by being looked at: its own value
/// stays that since creation. A variable is sampled once a second, however many windows look at it, and
/// keeps what it got in each second of the longest of them; seconds in which it got nothing cost nothing.
///
/// ```
/// use bvar::{Maxer, Variable, Window};
///
/// let longest = std::sync::Arc::new(Maxer::<u64>::new());
/// let longest_of_a_minute = Window::new(longest.clone(), 60).expose("window_example_max_60")?;
/// longest.record(5);
/// # Ok::<(), bvar::ExposeError>(())
/// ```
pub struct Window<V: Sampled> {
    variable: Arc<V>,
    seconds: u32,
}

impl<V: Sampled> Window<V> {
    /// A window of `seconds`, at most [`MAX_WINDOW_SECONDS`], over `variable`; 0 stands for the dump interval, 10 s.
    ///
    /// *Blocking:* the thread, for the time of short internal locks and, for a [`PassiveStatus`], of its function.
    pub fn new(variable: Arc<V>, seconds: u32) -> Self {
        Self::with_sampler(Sampler::global(), variable, seconds)
    }

    /// A window over a variable that `sampler` samples. A variable has one sampler: that of its first window.
    ///
    /// *Blocking:* as [`new`](Window::new).
    pub fn with_sampler(sampler: &Sampler, variable: Arc<V>, seconds: u32) -> Self {
        let seconds = length(seconds);
        sampling::open(&variable, sampler, seconds);
        Window { variable, seconds }
    }

    /// What the variable got in the window.
    ///
    /// *Blocking:* the thread, for the time of a lock in which the seconds are folded.
    pub fn get(&self) -> V::Output {
        self.over(self.seconds)
    }

    /// What it got in the last `seconds`, at most those of the window.
    ///
    /// *Blocking:* as [`get`](Window::get).
    pub fn over(&self, seconds: u32) -> V::Output {
        self.read(seconds).0
    }

    /// How long the window really is: shorter when it is young, a little longer or shorter as ticks came late.
    ///
    /// *Blocking:* as [`get`](Window::get).
    pub fn span(&self) -> Duration {
        self.read(self.seconds).1
    }

    /// The seconds asked for.
    pub fn seconds(&self) -> u32 {
        self.seconds
    }

    /// The variable that it looks at.
    pub fn variable(&self) -> &Arc<V> {
        &self.variable
    }

    pub(crate) fn read(&self, seconds: u32) -> (V::Output, Duration, u32) {
        sampling::read(&*self.variable, seconds.min(self.seconds))
    }
}

impl<V: Sampled> Drop for Window<V> {
    fn drop(&mut self) {
        sampling::close(&*self.variable);
    }
}

impl<V: Sampled> Variable for Window<V> {
    fn value(&self) -> Value {
        self.get().into()
    }

    fn trend(&self) -> Trend {
        V::TREND
    }
}

impl<V: Sampled> fmt::Debug for Window<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window({} over {} s)", self.value(), self.seconds)
    }
}

/// A variable whose windows are sums, so that they have a rate: [`Adder`](crate::Adder) and [`PassiveStatus`] of numbers.
pub trait Rate: Sampled<Output = Self::Number> {
    /// What it adds up.
    type Number: Number;
}

impl<T: Number> Rate for Reducer<T, Sum>
where
    Sum: crate::reducer::Operation<T>,
{
    type Number = T;
}

impl<T: Number> Rate for PassiveStatus<T> {
    type Number = T;
}

/// What a variable got each second, on average over a window.
///
/// ```
/// use bvar::{Adder, PerSecond, Sampler};
/// use std::{sync::Arc, time::Duration};
///
/// let sampler = Sampler::new(Duration::ZERO);
/// let bytes = Arc::new(Adder::<i64>::new());
/// let speed = PerSecond::with_sampler(&sampler, bytes.clone(), 10);
/// bytes.add(300);
/// sampler.tick(Duration::from_millis(1500));
/// assert_eq!(speed.get(), 200.0);
/// ```
pub struct PerSecond<V: Rate> {
    window: Window<V>,
}

impl<V: Rate> PerSecond<V> {
    /// The rate over a window, as [`Window::new`].
    ///
    /// *Blocking:* as [`Window::new`].
    pub fn new(variable: Arc<V>, seconds: u32) -> Self {
        PerSecond { window: Window::new(variable, seconds) }
    }

    /// The same with a sampler, as [`Window::with_sampler`].
    ///
    /// *Blocking:* as [`Window::new`].
    pub fn with_sampler(sampler: &Sampler, variable: Arc<V>, seconds: u32) -> Self {
        PerSecond { window: Window::with_sampler(sampler, variable, seconds) }
    }

    /// How much a second; 0 before the first tick. As a variable it is shown rounded where the numbers are integers.
    ///
    /// *Blocking:* as [`Window::get`].
    pub fn get(&self) -> f64 {
        let (sum, span, _) = self.window.read(self.window.seconds);
        per_second(sum.to_f64(), span)
    }

    /// The window.
    pub fn window(&self) -> &Window<V> {
        &self.window
    }
}

pub(crate) fn per_second(sum: f64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { sum / span.as_secs_f64() }
}

impl<V: Rate> Variable for PerSecond<V> {
    fn value(&self) -> Value {
        let rate = self.get();
        if <V::Number as Arithmetic>::IS_INTEGER { (rate.round() as i64).into() } else { rate.into() }
    }

    fn trend(&self) -> Trend {
        Trend::Average
    }
}

impl<V: Rate> fmt::Debug for PerSecond<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerSecond({} over {} s)", self.get(), self.window.seconds)
    }
}

macro_rules! own_variable {
    ($(#[$doc:meta])* $name:ident, $looks:ident, $bound:ident) => {
        $(#[$doc])*
        pub struct $name<V: $bound>($looks<V>);

        impl<V: $bound + Default> $name<V> {
            /// A new variable and its window of `seconds`, as [`Window::new`].
            ///
            /// *Blocking:* as [`Window::new`].
            pub fn new(seconds: u32) -> Self {
                $name($looks::new(Arc::default(), seconds))
            }

            /// The same with a sampler, as [`Window::with_sampler`].
            ///
            /// *Blocking:* as [`Window::new`].
            pub fn with_sampler(sampler: &Sampler, seconds: u32) -> Self {
                $name($looks::with_sampler(sampler, Arc::default(), seconds))
            }
        }

        impl<V: $bound> Deref for $name<V> {
            type Target = V;

            #[inline]
            fn deref(&self) -> &V {
                self.variable()
            }
        }

        /// Without a history: expose a window over a variable of your own to get one.
        impl<V: $bound> Variable for $name<V> {
            fn value(&self) -> Value {
                self.0.value()
            }
        }

        impl<V: $bound> fmt::Debug for $name<V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

own_variable! {
    /// A [`Window`] with a variable of its own, to which it dereferences.
    ///
    /// ```
    /// let recent = bvar::WindowEx::<bvar::Adder<i64>>::new(60);
    /// recent.add(3);
    /// ```
    WindowEx, Window, Sampled
}

own_variable! {
    /// A [`PerSecond`] with a variable of its own, to which it dereferences.
    ///
    /// ```
    /// let requests = bvar::PerSecondEx::<bvar::Adder<u64>>::new(10);
    /// requests.add(1);
    /// ```
    PerSecondEx, PerSecond, Rate
}

impl<V: Sampled> WindowEx<V> {
    fn variable(&self) -> &V {
        &self.0.variable
    }

    /// What was written in the window.
    ///
    /// *Blocking:* as [`Window::get`].
    pub fn window_value(&self) -> V::Output {
        self.0.get()
    }
}

impl<V: Rate> PerSecondEx<V> {
    fn variable(&self) -> &V {
        &self.0.window.variable
    }

    /// How much a second was written in the window.
    ///
    /// *Blocking:* as [`Window::get`].
    pub fn rate(&self) -> f64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests;
