//! Limiters by name, as brpc's users write them.

use super::{Auto, ConcurrencyLimiter, Constant, Timeout};
use crate::error::{EINVAL, RpcError};

/// The limiter that a text stands for: `unlimited` or `0` for none, a number for [`Constant`], `auto` for [`Auto`],
/// `timeout` for [`Timeout`]; upper and lower case are the same.
///
/// # Errors
/// [`EINVAL`] for any other text.
pub fn from_specification(text: &str) -> Result<Option<Box<dyn ConcurrencyLimiter>>, RpcError> {
    let name = text.trim();
    if let Ok(max) = name.parse::<usize>() {
        return Ok(if max == 0 { None } else { Some(Box::new(Constant::new(max))) });
    }
    match name.to_ascii_lowercase().as_str() {
        "unlimited" => Ok(None),
        "auto" => Ok(Some(Box::new(Auto::new()))),
        "timeout" => Ok(Some(Box::new(Timeout::new()))),
        _ => Err(RpcError::new(EINVAL, format!("Unknown max_concurrency={text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limiters_have_brpcs_names() {
        let limiter = |text| from_specification(text).unwrap();
        assert!(limiter("unlimited").is_none() && limiter("0").is_none());
        assert_eq!(limiter("7").unwrap().max_concurrency(), Some(7));
        assert_eq!(limiter(" Auto ").unwrap().max_concurrency(), Some(40));
        assert_eq!(limiter("timeout").unwrap().max_concurrency(), Some(100));
        for text in ["", "-1", "automatic", "1.5"] {
            assert_eq!(from_specification(text).err().unwrap().code(), EINVAL, "{text}");
        }
    }
}
