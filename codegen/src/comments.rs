//! Makes comments of a `.proto` safe as rustdoc. A comment is prose or a snippet in any language;
//! rustdoc would compile its code blocks as Rust and fail the user's `cargo test`.

use prost_types::FileDescriptorProto;

/// Markdown takes a line that is indented this far for code.
const CODE_INDENT: usize = 4;

/// Rewrites all comments of `file` that end up in documentation.
pub(crate) fn make_rustdoc_safe(file: &mut FileDescriptorProto) {
    for location in file.source_code_info.iter_mut().flat_map(|info| &mut info.location) {
        let comments = [&mut location.leading_comments, &mut location.trailing_comments];
        for text in comments.into_iter().flatten() {
            *text = rustdoc_safe(text);
        }
    }
}

/// Marks fenced blocks as `text`, closes an open one, and keeps other lines from being read as code.
fn rustdoc_safe(comment: &str) -> String {
    // rustc refuses a bare CR in a doc comment.
    let comment = comment.replace("\r\n", "\n").replace('\r', " ").replace('\t', "    ");
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let margin = comment.lines().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);

    let mut safe = String::with_capacity(comment.len());
    let mut open_fence: Option<&str> = None;
    for line in comment.lines() {
        let line = line.get(margin..).unwrap_or("").trim_end();
        let text = line.trim_start_matches(' ');
        let fence = fence_of(text);
        let kept_indent = " ".repeat(indent(line).min(CODE_INDENT - 1));
        match (open_fence, fence) {
            (None, Some(fence)) => {
                safe.push_str(&format!("{fence}text"));
                open_fence = Some(fence);
            }
            (Some(open), Some(fence)) if fence.starts_with(open) && text == fence => {
                safe.push_str(fence);
                open_fence = None;
            }
            (Some(_), _) => safe.push_str(line),
            (None, None) => safe.push_str(&format!("{kept_indent}{text}")),
        }
        safe.push('\n');
    }
    if let Some(fence) = open_fence {
        safe.push_str(fence);
        safe.push('\n');
    }
    safe
}

/// The run of three or more backticks or tildes that `text` starts with.
fn fence_of(text: &str) -> Option<&str> {
    let mark = text.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let fence = &text[..text.len() - text.trim_start_matches(mark).len()];
    (fence.len() >= 3).then_some(fence)
}

#[cfg(test)]
mod tests {
    use super::rustdoc_safe;

    #[test]
    fn prose_keeps_its_words_and_small_indents() {
        assert_eq!(rustdoc_safe(" Says hello.\n\n   - to all\n"), "Says hello.\n\n  - to all\n");
    }

    #[test]
    fn an_indented_snippet_is_no_code_block() {
        assert_eq!(rustdoc_safe(" Call:\n\n     stub.Echo(&cntl);\n"), "Call:\n\n   stub.Echo(&cntl);\n");
        assert_eq!(rustdoc_safe("a\n\tb\n"), "a\n   b\n");
    }

    #[test]
    fn a_fence_is_text_and_is_closed() {
        assert_eq!(rustdoc_safe(" ```\n x;\n ```\n"), "```text\nx;\n```\n");
        assert_eq!(rustdoc_safe(" ~~~rust\n     x;\n"), "~~~text\n    x;\n~~~\n");
        assert_eq!(rustdoc_safe(" ````\n ```\n"), "````text\n```\n````\n");
    }

    #[test]
    fn carriage_returns_vanish() {
        assert_eq!(rustdoc_safe(" a\r\n b\rc\r\n"), "a\nb c\n");
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(rustdoc_safe(""), "");
        assert_eq!(rustdoc_safe("  \n"), "\n");
    }
}
