//! `/dir`: the files below one folder, if the server's builder has named one (`spec/builtin-services.md` §13). Nothing
//! outside of it is read, whatever the path or a link says; nothing is written.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::{EPERM, PageReply, one_line};
use super::request::PageRequest;
use super::write::Url;
use crate::error::{EINVAL, ENOMETHOD};

/// Bytes of a file that are shown.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;
/// Entries of a folder that are shown.
const ENTRIES_MAX: usize = 10_000;

pub(super) struct Dir;

/// What is at a path.
enum Found {
    /// The first bytes, and how many there are more.
    File(Vec<u8>, u64),
    /// The names, sorted; folders end in a slash.
    Folder(Vec<String>),
}

impl Page for Dir {
    fn name(&self) -> &'static str {
        "dir"
    }

    fn about(&self) -> &'static str {
        "Browse the files of a folder"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let Some(root) = context.server.options().dir_root() else {
            let text = "The files of this server are not shown: its builder has not named a folder (PageOptions::dir)";
            return PageReply::error(context, request, EPERM, text);
        };
        let Some(path) = inside(&request.rest) else {
            return PageReply::error(context, request, EINVAL, "A path must not lead out of the folder");
        };
        match bthread::blocking(|| look(root, &path)) {
            Ok(Found::File(bytes, more)) => file(bytes, more),
            Ok(Found::Folder(names)) => folder(context, request, &path, &names),
            Err(error) => {
                let text = format!("Cannot open `{}': {}", request.rest, error.kind());
                PageReply::error(context, request, ENOMETHOD, text)
            }
        }
    }
}

/// The path without its first slashes, if it is one that goes down only.
fn inside(rest: &str) -> Option<PathBuf> {
    if rest.contains('\0') {
        return None;
    }
    let mut path = PathBuf::new();
    for component in Path::new(rest.trim_start_matches('/')).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

fn look(root: &Path, below: &Path) -> io::Result<Found> {
    let root = fs::canonicalize(root)?;
    let path = fs::canonicalize(root.join(below))?;
    let outside = || io::Error::from(io::ErrorKind::PermissionDenied);
    if !path.starts_with(&root) {
        return Err(outside());
    }
    // Without waiting: a pipe has no other end, a device may never be ready.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW)
        .open(path)?;
    // A link may have been put into the path since it was looked at; this is what was opened.
    let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if !fs::read_link(&opened)?.starts_with(&root) {
        return Err(outside());
    }
    let about = file.metadata()?;
    if about.is_dir() {
        return names(&opened).map(Found::Folder);
    }
    if !about.is_file() {
        return Err(outside());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let more = about.len().saturating_sub(bytes.len() as u64);
    Ok(Found::File(bytes, more))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.take(ENTRIES_MAX).filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .map(|entry| {
            let name = entry.file_name();
            let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { name + "/" } else { name }
        })
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// The contents as plain text, never as what a browser might run.
fn file(mut bytes: Vec<u8>, more: u64) -> PageReply {
    if more > 0 {
        bytes.extend_from_slice(format!("\n... {more} more bytes").as_bytes());
    }
    PageReply::text("").with_body(bytes)
}

fn folder(context: &PageContext<'_>, request: &PageRequest, path: &Path, names: &[String]) -> PageReply {
    if !request.is_html() {
        let names = names.iter().map(|name| one_line(name.trim_end_matches('/')) + "\n");
        return PageReply::text(".\n..\n".to_owned() + &names.collect::<String>());
    }
    let url = |names: &Path| {
        let start = Url::page("/dir");
        names.iter().fold(start, |url, name| url.join(name.to_string_lossy()))
    };
    frame::page(context, "dir", "", |html| {
        html.leaf("h2", "", format_args!("/{}", path.display()));
        html.element("ul", &[super::write::Attr::Is("class", "files")], |html| {
            if let Some(parent) = path.parent() {
                html.element("li", &[], |html| html.link(url(parent), ".."));
            }
            for name in names {
                html.element("li", &[], |html| html.link(url(&path.join(name.trim_end_matches('/'))), name));
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::super::PageOptions;
    use super::super::tests::{FakeServer, browse, fake_server, get, text_of};
    use super::*;

    /// A folder of this test alone, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("bobbin-dir-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("root/sub")).unwrap();
            fs::write(path.join("outside"), "secret").unwrap();
            fs::write(path.join("root/readme.txt"), "a small text file\n").unwrap();
            fs::write(path.join("root/<script>.html"), "<script>alert(1)</script>").unwrap();
            fs::write(path.join("root/sub/large"), vec![b'x'; (1 << 20) + 7]).unwrap();
            std::os::unix::fs::symlink("../outside", path.join("root/link")).unwrap();
            Folder(path)
        }

        fn server(&self) -> FakeServer {
            let mut server = fake_server();
            server.options = PageOptions::new().dir(self.0.join("root"));
            server
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn off_unless_a_folder_is_named() {
        assert_eq!(fake_server().ask(&get("/dir/etc/passwd")).status, 403);
    }

    #[test]
    fn folders_and_files_are_shown() {
        let folder = Folder::new("shown");
        let server = folder.server();
        assert_eq!(server.text("/dir"), ".\n..\n<script>.html\nlink\nreadme.txt\nsub\n");
        assert_eq!(server.text("/dir/readme.txt"), "a small text file\n");
        let large = server.text("/dir/sub/large");
        assert!(large.ends_with("x\n... 7 more bytes") && large.len() < (1 << 20) + 30);
        let html = server.html("/dir/sub/");
        assert!(html.contains("href=\"/dir/sub/large\"") && html.contains("href=\"/dir\""), "{html}");
        assert!(!server.html("/dir").contains("<script>"));
        let file = server.ask(&browse("/dir/%3Cscript%3E.html"));
        assert!(file.content_type.starts_with("text/plain"), "a file is never HTML");
        let missing = server.ask(&get("/dir/nope"));
        assert_eq!(missing.status, 404);
        assert!(text_of(&missing).contains("]Cannot open `nope'"));
    }

    #[test]
    fn nothing_outside_is_read() {
        let folder = Folder::new("outside");
        let server = folder.server();
        for path in [
            "/dir/../outside",
            "/dir/%2e%2e/outside",
            "/dir/sub/../../outside",
            "/dir/link",
            "/dir//etc/passwd",
            "/dir/%2Fetc%2Fpasswd",
            "/dir/readme.txt%00",
            "/dir/..",
        ] {
            let reply = server.ask(&get(path));
            assert!(reply.status >= 400, "{path}: {}", text_of(&reply));
            assert!(!text_of(&reply).contains("secret") && !text_of(&reply).contains("root:"), "{path}");
        }
    }
}
