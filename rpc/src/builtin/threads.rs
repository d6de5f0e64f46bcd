//! `/threads`: what the threads of this process do, read without a debugger (`spec/builtin-services.md` §13).

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use bthread::trace::{self, Held, StackTrace, TraceError};

use super::context::PageContext;
use super::page::Page;
use super::reply::{EPERM, PageReply, one_line};
use super::request::PageRequest;
use super::sockets::preformatted;
use super::stacks;

/// Threads that are shown.
const THREADS_MAX: usize = 1024;

pub(super) struct Threads;

impl Page for Threads {
    fn name(&self) -> &'static str {
        "threads"
    }

    fn about(&self) -> &'static str {
        "Stacks of all threads"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        if !context.server.options().shows_threads() {
            let text = "The threads of this server are not shown: its builder has not asked for it \
                        (PageOptions::threads)";
            return PageReply::error(context, request, EPERM, text);
        }
        preformatted(context, request, "threads", all)
    }
}

fn all() -> String {
    let begin = Instant::now();
    let mut threads: Vec<(i32, String)> = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
            Some((id, one_line(name.trim_end())))
        })
        .collect();
    threads.sort_unstable();
    let total = threads.len();
    threads.truncate(THREADS_MAX);
    // Each of them is looked at alone, so that none is stopped for longer than a copy of its stack takes.
    let seen: Vec<_> = threads.iter().map(|(id, _)| look(*id)).collect();
    let found = seen.iter().filter_map(|seen| seen.as_ref().ok().map(|(_, stack)| stack.clone()));
    let mut texts = stacks::texts(&found.collect::<Vec<_>>()).into_iter();
    let mut out = String::new();
    for ((id, name), seen) in threads.iter().zip(&seen) {
        _ = match seen {
            Ok((held, _)) => {
                writeln!(out, "Thread {id} ({name}): {held}\n{}", texts.next().unwrap_or_default())
            }
            Err(why) => writeln!(out, "Thread {id} ({name}): {why}\n"),
        };
    }
    if total > threads.len() {
        _ = writeln!(out, "# {} more", total - threads.len());
    }
    _ = write!(out, "\n\ntime={}ms", begin.elapsed().as_millis());
    out
}

/// What a thread does, and its calls under way.
fn look(thread: i32) -> Result<(Held, StackTrace), TraceError> {
    match trace::of_thread(thread) {
        Ok(seen) => Ok((seen.held, seen.stack)),
        Err(TraceError::Itself) => Ok((Held::Running, trace::capture())),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::PageOptions;
    use super::super::tests::{fake_server, get};

    #[test]
    fn threads_are_shown_when_asked_for() {
        let mut server = fake_server();
        assert_eq!(server.ask(&get("/threads")).status, 403);
        server.options = PageOptions::new().threads();
        let (tell, wait) = std::sync::mpsc::channel::<()>();
        let (begin, began) = std::sync::mpsc::channel();
        let named = std::thread::Builder::new().name("<script>".to_owned());
        let thread = named.spawn(move || {
            begin.send(()).unwrap();
            wait.recv()
        });
        let thread = thread.unwrap();
        began.recv().unwrap(); // it has its name by now
        let text = server.text("/threads");
        assert!(text.contains("(<script>): ") && text.contains("\n\ntime="), "{text}");
        assert!(!server.html("/threads").contains("<script>"));
        drop(tell);
        thread.join().unwrap().unwrap_err();
    }
}
