//! What the heap holds, by the stacks that asked for it: from jemalloc, which keeps account of a sample of all blocks.
//!
//! Three things are needed, and the errors say which is missing:
//! 1. the feature `jemalloc` (of this crate, or of `bobbin`);
//! 2. the allocator, in the program itself:
//!    `#[global_allocator] static ALLOCATOR: profile::Jemalloc = profile::Jemalloc;`
//! 3. its account, by the environment: `_RJEM_MALLOC_CONF=prof:true`; for [`growth`] `prof:true,prof_accum:true`.
//!
//! jemalloc looks at one block in 512 KiB on average (`lg_prof_sample:19`); what it saw is scaled up to what there was.
//! The account is written to memory and read here. `dump` reads jemalloc's text, `jemalloc` asks for it.
//!
//! ```
//! match profile::heap::in_use() {
//!     Ok(profile) => println!("{}", profile.to_top(profile::Value::Amount, 20)),
//!     Err(error) => println!("{error}"),
//! }
//! ```

#[cfg(any(feature = "jemalloc", test))]
mod dump;
#[cfg(feature = "jemalloc")]
mod jemalloc;

use crate::{Profile, StartError};

/// What the heap holds now.
///
/// *Blocking*: parks the calling bthread, or blocks the calling thread, while the allocator writes its account.
///
/// # Errors
/// `Disabled` where something is missing, with how to turn it on; `System` if there is no memory file to be had.
pub fn in_use() -> Result<Profile, StartError> {
    #[cfg(feature = "jemalloc")]
    return bthread::blocking(jemalloc::in_use);
    #[cfg(not(feature = "jemalloc"))]
    Err(not_built())
}

/// All that was asked for since the program began, freed or not.
///
/// *Blocking*: as [`in_use`].
///
/// # Errors
/// As [`in_use`].
pub fn growth() -> Result<Profile, StartError> {
    #[cfg(feature = "jemalloc")]
    return bthread::blocking(jemalloc::growth);
    #[cfg(not(feature = "jemalloc"))]
    Err(not_built())
}

#[cfg(not(feature = "jemalloc"))]
fn not_built() -> StartError {
    StartError::Disabled(
        "heap profiles need the allocator jemalloc: build with the feature `jemalloc` of bobbin, make \
         `bobbin::profile::Jemalloc` the program's #[global_allocator], and start it with \
         _RJEM_MALLOC_CONF=prof:true (prof:true,prof_accum:true for growth)"
            .to_owned(),
    )
}
