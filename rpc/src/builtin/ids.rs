//! `/ids`: the state of a call id (`spec/builtin-services.md` §12).

use bthread::CallId;
use bthread::call_id::LockState;

use super::context::PageContext;
use super::page::Page;
use super::reply::PageReply;
use super::request::PageRequest;
use super::sockets::preformatted;
use crate::error::ENOMETHOD;

pub(super) struct Ids;

impl Page for Ids {
    fn name(&self) -> &'static str {
        "ids"
    }

    fn about(&self) -> &'static str {
        "Check the state of a call id"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        if request.rest.is_empty() {
            return preformatted(context, request, "ids", || "# Use /ids/<call_id>\n".to_owned());
        }
        let Ok(number) = request.rest.parse() else {
            let text = format!("path={} is not a bthread_id", request.rest);
            return PageReply::error(context, request, ENOMETHOD, text);
        };
        preformatted(context, request, "ids", || state(number))
    }
}

fn state(number: u64) -> String {
    let Some(status) = CallId::from_u64(number).status() else {
        return format!("Invalid id={number}");
    };
    let place = status.locked_at.map_or_else(String::new, |place| format!(" at {place}"));
    let lock = match status.lock {
        LockState::Free => "UNLOCKED".to_owned(),
        LockState::Locked => format!("LOCKED{place}"),
        LockState::AboutToDestroy => format!("ABOUT TO DESTROY{place}"),
    };
    format!(
        "First id: {}\nRange: {}\nStatus: {lock}\nPendingQ: {}\nLockers: {}\nJoiners: {}\n",
        status.first.as_u64(),
        status.range,
        status.pending_errors,
        status.lockers,
        status.joiners
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fake_server, get, text_of};
    use bthread::CallId;
    use bthread::call_id::destroy_on_error;

    #[test]
    fn ids_lead_to_their_state() {
        let server = fake_server();
        let id = CallId::create((), destroy_on_error).unwrap();
        assert!(server.text(&format!("/ids/{}", id.as_u64())).contains("Status: UNLOCKED\nPendingQ: 0\n"));
        let guard = id.lock::<()>().unwrap();
        let text = server.text(&format!("/ids/{}", id.as_u64()));
        assert!(text.contains("Range: 1\nStatus: LOCKED at rpc/src/builtin/ids.rs:"), "{text}");
        guard.destroy();
        assert_eq!(server.text(&format!("/ids/{}", id.as_u64())), format!("Invalid id={}", id.as_u64()));
        let bad = server.ask(&get("/ids/xyz"));
        assert_eq!(
            (bad.status, text_of(&bad).as_str()),
            (404, "[127.0.0.1:8002][E1002]path=xyz is not a bthread_id")
        );
    }
}
