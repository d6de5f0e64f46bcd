//! Numbers of errors and HTTP's statuses (`spec/protocols-http.md` §8).

use http::StatusCode;
use rpc::error::{
    EINVAL, ELIMIT, ELOGOFF, ENOMETHOD, ENOSERVICE, EREQUEST, ERPCAUTH, ERPCTIMEDOUT, ETIMEDOUT, ErrorCode,
};

/// The system's number for what is not permitted.
const EPERM: ErrorCode = ErrorCode::new(1);

/// The status that a server answers an error with.
pub(super) fn of_error(code: ErrorCode) -> StatusCode {
    match code {
        ENOSERVICE | ENOMETHOD => StatusCode::NOT_FOUND,
        ERPCAUTH => StatusCode::UNAUTHORIZED,
        EREQUEST | EINVAL => StatusCode::BAD_REQUEST,
        ELIMIT | ELOGOFF => StatusCode::SERVICE_UNAVAILABLE,
        EPERM => StatusCode::FORBIDDEN,
        ERPCTIMEDOUT | ETIMEDOUT => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_brpc() {
        let table = [
            (1001, 404),
            (1002, 404),
            (1004, 401),
            (1003, 400),
            (22, 400),
            (2004, 503),
            (2003, 503),
            (1, 403),
            (1008, 504),
            (110, 504),
            (125, 500),
            (1011, 500),
            (2001, 500),
            (2002, 500),
            (1234, 500),
            (-1, 500),
        ];
        for (code, status) in table {
            assert_eq!(of_error(ErrorCode::new(code)), status, "{code}");
        }
    }
}
