//! YAML text to [`Node`]s.
//!
//! `saphyr-parser` gives events; what they mean is decided here, as Kubernetes
//! would decide (see [`super::scalar`]), within limits that a hostile file
//! can't exceed. A file that is no YAML ends where it breaks; the documents
//! before that are kept.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::node::{Entry, Node, Value};
use super::{scalar, template};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::{FileId, Sources, Span, line_starts};

/// Deeper nesting is refused. Istio's resources need about twelve levels.
const MAX_DEPTH: usize = 64;

/// How many values aliases may add to one file. Without a limit a few lines
/// grow to billions of values.
const MAX_EXPANDED: usize = 100_000;

/// The documents of a file, without the empty ones.
pub(crate) fn load(sources: &Sources, file: FileId, diagnostics: &mut Diagnostics) -> Vec<Node> {
    let text = sources.text(file);
    if u32::try_from(text.len()).is_err() {
        diagnostics.push(
            Diagnostic::error("file-too-large", format!("`{}` is larger than 4 GiB", sources.name(file)))
                .help("split the file"),
        );
        return Vec::new();
    }
    let mut loader = Loader {
        sources,
        file,
        text,
        places: Places::new(text),
        diagnostics,
        stack: Vec::new(),
        anchors: HashMap::new(),
        expanded: 0,
        documents: Vec::new(),
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let stop = match next {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => {
                let span = loader.span(span.start, span.end);
                loader.event(event, span)
            }
            Err(error) => {
                let at = loader.span(*error.marker(), *error.marker());
                Err(Box::new(loader.syntax_error(at, error.info())))
            }
        };
        if let Err(diagnostic) = stop {
            loader.diagnostics.push(*diagnostic);
            break;
        }
    }
    loader.documents
}

struct Loader<'a> {
    sources: &'a Sources,
    file: FileId,
    text: &'a str,
    places: Places,
    diagnostics: &'a mut Diagnostics,
    stack: Vec<Frame>,
    /// Finished values that have an anchor. The parser numbers anchors and
    /// forgets them with the document.
    anchors: HashMap<usize, Anchored>,
    /// How many values came through aliases so far.
    expanded: usize,
    documents: Vec<Node>,
}

struct Anchored {
    node: Node,
    size: usize,
    depth: usize,
}

/// A list or map that isn't finished.
struct Frame {
    anchor: usize,
    span: Span,
    open: Open,
}

enum Open {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// The key whose value comes next.
        key: Option<Key>,
        /// What `<<` brought, in order, and how many entries stood before.
        merges: Vec<(usize, Node)>,
    },
}

enum Key {
    Text {
        text: String,
        span: Span,
    },
    Merge(Span),
    /// Reported; its value is dropped.
    Bad,
}

impl Loader<'_> {
    /// Takes one event in. An error ends the file.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Diagnostic>> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let wants_key = self.wants_key();
                if wants_key && plain && tag.is_none() && text == "<<" {
                    self.set_key(Key::Merge(span));
                    return Ok(());
                }
                let text = self.without_added_line_end(&text, style, span);
                let value = self.scalar(text, plain, tag.as_deref(), span);
                self.finish(Node { value, span }, anchor);
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Open::List(Vec::new()), anchor, tag.as_deref(), span)
            }
            Event::MappingStart(anchor, tag) => {
                let open = Open::Map { entries: Vec::new(), key: None, merges: Vec::new() };
                self.open(open, anchor, tag.as_deref(), span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.close(span);
                Ok(())
            }
            Event::Alias(anchor) => {
                let node = self.alias(anchor, span)?;
                self.finish(node, 0);
                Ok(())
            }
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn open(
        &mut self,
        open: Open,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Box<Diagnostic>> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(Box::new(too_deep(span)));
        }
        let expected = if matches!(open, Open::List(_)) { "seq" } else { "map" };
        if let Some(tag) = tag.filter(|tag| core_tag(tag) != Some(expected)) {
            self.unknown_tag(tag, span);
        }
        self.stack.push(Frame { anchor, span, open });
        Ok(())
    }

    fn close(&mut self, span: Span) {
        let Some(frame) = self.stack.pop() else { return };
        let (value, last) = match frame.open {
            Open::List(items) => {
                let last = items.last().map(|item| item.span);
                (Value::List(items), last)
            }
            Open::Map { entries, key: _, merges } => {
                let entries = self.without_repeats(entries);
                let entries = self.merged(entries, merges);
                let last = entries.last().map(|entry| entry.key_span.to(entry.node.span));
                (Value::Map(entries), last)
            }
        };
        let first = if matches!(value, Value::List(_)) { self.dash_before(frame.span) } else { frame.span };
        let place = self.extent(first, last, span);
        let node = self.as_go_reads(Node { value, span: place });
        self.finish(node, frame.anchor);
    }

    /// A finished value goes to where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            let (size, depth) = measure(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, depth });
        }
        if self.wants_key() {
            let key = self.key(&node);
            self.set_key(key);
            return;
        }
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => {
                if !node.is_null() {
                    self.documents.push(node);
                }
            }
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map { entries, key, merges }) => match key.take() {
                Some(Key::Text { text, span }) => entries.push(Entry { key: text, key_span: span, node }),
                Some(Key::Merge(span)) => {
                    let before = entries.len();
                    match mergeable(node) {
                        Ok(maps) => merges.extend(maps.into_iter().map(|map| (before, map))),
                        Err(()) => self.diagnostics.push(
                            Diagnostic::error("bad-merge", "`<<` takes an object, or a list of objects")
                                .at(span),
                        ),
                    }
                }
                Some(Key::Bad) | None => {}
            },
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { open: Open::Map { key: None, .. }, .. }))
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Frame { open: Open::Map { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some(new);
        }
    }

    fn key(&mut self, node: &Node) -> Key {
        if let Some(text) = scalar::key_text(&node.value) {
            self.changed_key(node, &text);
            return Key::Text { text, span: node.span };
        }
        let text = self.text.get(node.span.start.saturating_sub(1) as usize..).unwrap_or("");
        let diagnostic = if text.starts_with("{{") {
            Diagnostic::error("unrendered-template", "`{{` is no value")
                .help(template::Template::Braces.help())
        } else {
            Diagnostic::error("bad-key", format!("{} can't be the key of an object", node.describe()))
                .help("a key is a string; quote it if it looks like something else")
        };
        self.diagnostics.push(diagnostic.at(node.span));
        Key::Bad
    }

    /// `y: 1` has the key `true`, which is hardly what was meant.
    fn changed_key(&mut self, node: &Node, text: &str) {
        let written = self.sources.snippet(node.span);
        if node.as_str().is_some() || written.is_empty() || written == text {
            return;
        }
        self.diagnostics.push(
            Diagnostic::warning(
                "changed-key",
                format!("YAML reads the key `{written}` as {}: `{text}`", node.describe()),
            )
            .at(node.span)
            .help(format!("quote it: `\"{written}\"`")),
        );
    }

    fn scalar(&mut self, text: &str, plain: bool, tag: Option<&Tag>, span: Span) -> Value {
        let string = || Value::String(text.to_owned());
        let Some(tag) = tag else {
            return if plain { scalar::resolve(text) } else { string() };
        };
        let value = scalar::resolve(text);
        match (core_tag(tag), value) {
            (Some("str" | "timestamp"), _) => return string(),
            (Some("int"), value @ Value::Int(_))
            | (Some("float"), value @ Value::Float(_))
            | (Some("bool"), value @ Value::Bool(_))
            | (Some("null"), value @ Value::Null) => return value,
            (Some("float"), Value::Int(value)) => return Value::Float(value as f64),
            (Some(name @ ("int" | "float" | "bool" | "null")), _) => self
                .diagnostics
                .push(Diagnostic::error("bad-tag", format!("this can't be read as `!!{name}`")).at(span)),
            // A lone `!` says: a string, whatever it looks like.
            _ if tag.suffix.is_empty() || tag.handle.is_empty() => {}
            _ => self.unknown_tag(tag, span),
        }
        string()
    }

    /// The parser ends a block scalar with a line end even where the text ends
    /// without one.
    fn without_added_line_end<'t>(&self, text: &'t str, style: ScalarStyle, span: Span) -> &'t str {
        let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let at_end = block && span.end as usize >= self.text.len() && !self.text.ends_with(['\n', '\r']);
        if at_end { text.strip_suffix('\n').unwrap_or(text) } else { text }
    }

    fn unknown_tag(&mut self, tag: &Tag, span: Span) {
        let name =
            core_tag(tag).map_or_else(|| format!("{}{}", tag.handle, tag.suffix), |name| format!("!!{name}"));
        self.diagnostics.push(
            Diagnostic::error("unknown-tag", format!("the YAML tag `{name}` means nothing here"))
                .at(span)
                .help("Kubernetes resources need no tags; if another tool gives the tag a meaning, let it render the file first"),
        );
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Box<Diagnostic>> {
        let Some(found) = self.anchors.get(&anchor) else {
            let diagnostic = Diagnostic::error("bad-alias", "there is no finished value with this anchor")
                .at(span)
                .help("an anchor holds within its document, and not inside its own value");
            return Err(Box::new(diagnostic));
        };
        self.expanded += found.size;
        if self.expanded > MAX_EXPANDED {
            let message = format!("the aliases of this file expand to more than {MAX_EXPANDED} values");
            let diagnostic =
                Diagnostic::error("too-many-aliases", message).at(span).help("write the values out");
            return Err(Box::new(diagnostic));
        }
        if self.stack.len() + found.depth > MAX_DEPTH {
            return Err(Box::new(too_deep(span)));
        }
        Ok(found.node.clone())
    }

    /// Reports keys that come twice; the first one stays.
    fn without_repeats(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        let key = |index: usize| entries.get(index).map(|entry| (&entry.key, entry.key_span));
        order.sort_by(|a, b| key(*a).map(|(text, _)| text).cmp(&key(*b).map(|(text, _)| text)));
        let mut repeated = HashSet::new();
        let mut first = None;
        for index in order {
            let Some((text, span)) = key(index) else { continue };
            match first {
                Some((first_text, first_span)) if first_text == text => {
                    repeated.insert(index);
                    self.diagnostics.push(
                        Diagnostic::error("duplicate-key", format!("the key `{text}` is given twice"))
                            .at(span)
                            .also("first given at", first_span)
                            .help("parsers disagree on which one counts; keep one"),
                    );
                }
                _ => first = Some((text, span)),
            }
        }
        if !repeated.is_empty() {
            let mut index = 0;
            entries.retain(|_| {
                index += 1;
                !repeated.contains(&(index - 1))
            });
        }
        entries
    }

    /// Adds what `<<` brought: a key that is written out wins, then the first
    /// merged object that has it.
    fn merged(&mut self, mut entries: Vec<Entry>, merges: Vec<(usize, Node)>) -> Vec<Entry> {
        if merges.is_empty() {
            return entries;
        }
        let own = entries.len();
        let mut position: HashMap<String, usize> =
            entries.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index)).collect();
        for (before, map) in merges {
            let Value::Map(merged) = map.value else { continue };
            for entry in merged {
                match position.get(&entry.key) {
                    None => {
                        position.insert(entry.key.clone(), entries.len());
                        entries.push(entry);
                    }
                    Some(&at) if at < before.min(own) => {
                        let Some(written) = entries.get(at) else { continue };
                        // Kubernetes' reader lets the merge win here, against
                        // the definition of `<<`.
                        self.diagnostics.push(
                            Diagnostic::error(
                                "merge-order",
                                format!("`{}` stands before a `<<` that has the same key", entry.key),
                            )
                            .at(written.key_span)
                            .also("merged from", entry.key_span)
                            .help("put `<<` first: readers of YAML disagree on which value counts here"),
                        );
                    }
                    Some(_) => {}
                }
            }
        }
        entries
    }

    /// YAML 1.2 reads `[::]` and `[2001:db8::]` as lists of an object whose
    /// value is missing; Kubernetes' reader wants a blank after the colon of a
    /// key and so reads a string.
    fn as_go_reads(&self, node: Node) -> Node {
        let Value::Map(entries) = &node.value else { return node };
        let [entry] = entries.as_slice() else { return node };
        let in_list = self.stack.last().is_some_and(|frame| matches!(frame.open, Open::List(_)));
        let byte = |at: u32| self.text.as_bytes().get(at as usize).copied();
        let bare = in_list
            && entry.node.is_null()
            && byte(node.span.start) != Some(b'{')
            && !matches!(byte(entry.key_span.start), Some(b'"' | b'\''))
            && byte(entry.key_span.end) == Some(b':')
            && matches!(byte(entry.key_span.end + 1), Some(b']' | b','));
        if !bare {
            return node;
        }
        let end = entry.key_span.end + 1;
        let span = Span { end, ..entry.key_span };
        let text = self.text.get(span.start as usize..end as usize).unwrap_or("");
        Node { value: Value::String(text.to_owned()), span }
    }

    /// The span of a list or map from its first event, its last child and its
    /// last event. Only a bracket has a last event of its own.
    fn extent(&self, first: Span, last: Option<Span>, end: Span) -> Span {
        let bracket = self.text.get(first.start as usize..).is_some_and(|text| text.starts_with(['[', '{']));
        if bracket { first.to(end) } else { last.map_or(first, |last| first.to(last)) }
    }

    /// For a list that isn't indented the parser gives the place of its first
    /// item.
    fn dash_before(&self, first: Span) -> Span {
        let start = first.start as usize;
        if self.text.get(start..).is_some_and(|text| text.starts_with(['[', '-'])) {
            return first;
        }
        let before = self.text.get(..start).unwrap_or("").trim_end();
        match before.strip_suffix('-') {
            Some(rest) => self.sources.span(self.file, rest.len()..start),
            None => first,
        }
    }

    fn syntax_error(&self, at: Span, info: &str) -> Diagnostic {
        if info.contains("recursion limit") {
            return too_deep(at);
        }
        let before = self.text.get(..at.start as usize).unwrap_or("");
        let start = before.rfind("\n---").map_or(0, |at| at + 1);
        let document = before.get(start..).unwrap_or("");
        let line = self.sources.line(at).unwrap_or("");
        if let Some(template) = template::in_broken_text(document, line) {
            return Diagnostic::error("unrendered-template", format!("this is no YAML: {info}"))
                .at(at)
                .help(template.help());
        }
        let diagnostic = Diagnostic::error("invalid-yaml", format!("this is no YAML: {info}")).at(at);
        if line.trim_start_matches(' ').starts_with('\t') {
            return diagnostic.help("YAML is indented with spaces, not with tabs");
        }
        diagnostic
    }

    fn span(&self, start: Marker, end: Marker) -> Span {
        self.places.span(self.file, start.index(), end.index())
    }
}

/// What an object merges: itself or the objects of a list.
fn mergeable(node: Node) -> Result<Vec<Node>, ()> {
    match node.value {
        Value::Map(_) => Ok(vec![node]),
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => Ok(items),
        _ => Err(()),
    }
}

fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::error("nested-too-deeply", format!("the values are nested more than {MAX_DEPTH} levels deep"))
        .at(span)
}

/// `str` for `!!str`.
fn core_tag(tag: &Tag) -> Option<&str> {
    tag.is_yaml_core_schema().then_some(tag.suffix.as_str())
}

/// How many values a value holds, and how deep.
fn measure(node: &Node) -> (usize, usize) {
    let children: Vec<(usize, usize)> = match &node.value {
        Value::List(items) => items.iter().map(measure).collect(),
        Value::Map(entries) => entries.iter().map(|entry| measure(&entry.node)).collect(),
        _ => return (1, 0),
    };
    let size = children.iter().map(|(size, _)| size).sum::<usize>() + 1;
    let depth = children.iter().map(|(_, depth)| *depth).max().unwrap_or(0) + 1;
    (size, depth)
}

/// The parser counts characters; a span counts bytes, lines and columns.
struct Places {
    /// Byte of each character and of the end, unless all are one byte long.
    bytes: Option<Vec<u32>>,
    /// Character that each line begins with.
    lines: Vec<u32>,
}

impl Places {
    fn new(text: &str) -> Self {
        let lines = line_starts(text);
        if text.is_ascii() {
            return Self { bytes: None, lines };
        }
        let mut bytes: Vec<u32> = text.char_indices().map(|(byte, _)| byte as u32).collect();
        bytes.push(text.len() as u32);
        let lines = lines.iter().map(|line| bytes.partition_point(|byte| byte < line) as u32).collect();
        Self { bytes: Some(bytes), lines }
    }

    fn span(&self, file: FileId, start: usize, end: usize) -> Span {
        let line = self.lines.partition_point(|line| *line as usize <= start);
        let line_start =
            line.checked_sub(1).and_then(|index| self.lines.get(index)).map_or(0, |start| *start as usize);
        let byte = |index: usize| match &self.bytes {
            None => index as u32,
            Some(bytes) => bytes.get(index).or(bytes.last()).copied().unwrap_or(0),
        };
        Span {
            file,
            start: byte(start),
            end: byte(end.max(start)),
            line: line as u32,
            column: (start - line_start) as u32 + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> (Vec<Node>, Diagnostics, Sources) {
        let mut sources = Sources::new();
        let file = sources.add("a.yaml", text);
        let mut diagnostics = Diagnostics::new();
        let documents = load(&sources, file, &mut diagnostics);
        (documents, diagnostics, sources)
    }

    /// The documents in a notation like JSON's; nothing may be found.
    fn shown(text: &str) -> String {
        let (documents, diagnostics, sources) = load_text(text);
        assert!(diagnostics.is_empty(), "{text}\n{}", diagnostics.render(&sources));
        documents.iter().map(show).collect::<Vec<_>>().join(" / ")
    }

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => format!("{value:?}"),
            Value::String(text) => format!("{text:?}"),
            Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(",")),
            Value::Map(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|e| format!("{}:{}", e.key, show(&e.node))).collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    fn codes(text: &str) -> Vec<&'static str> {
        load_text(text).1.iter().map(|diagnostic| diagnostic.code).collect()
    }

    #[test]
    fn documents() {
        for (text, expected) in [
            ("", ""),
            ("# nothing\n", ""),
            ("---\n---\n# nothing\n---\na: b\n---\n", "{a:\"b\"}"),
            ("a: b\n...\n---\nc: d\n", "{a:\"b\"} / {c:\"d\"}"),
            ("\u{feff}a: b\n", "{a:\"b\"}"),
            ("a: b\r\nc:\r\n- d\r\n---\r\ne: f\r\n", "{a:\"b\",c:[\"d\"]} / {e:\"f\"}"),
            ("{\"a\":[1,true,null,\"x\"],\"b\":{\"c\":-1.5}}", "{a:[1,true,null,\"x\"],b:{c:-1.5}}"),
            ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{a:\"x\\ny\\n\",b:\"x y\"}"),
            ("a: |\n  x", "{a:\"x\"}"),
            ("a: 'yes'\nb: \"1\"\nc: yes\nd: 1", "{a:\"yes\",b:\"1\",c:true,d:1}"),
            ("a:\nb: ~\n", "{a:null,b:null}"),
            ("1: a\n2.5: b\ntrue: c\n'1x': d\n", "{1:\"a\",2.5:\"b\",true:\"c\",1x:\"d\"}"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn anchors_aliases_and_merges() {
        for (text, expected) in [
            ("a: &x [1]\nb: *x\n", "{a:[1],b:[1]}"),
            ("a: &x yes\nb: *x\n", "{a:true,b:true}"),
            ("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n", "{a:{p:1,q:2},b:{q:3,p:1}}"),
            ("a: &x {p: 1}\nb: &y {p: 2, q: 3}\nc:\n  <<: [*x, *y]\n", "{a:{p:1},b:{p:2,q:3},c:{p:1,q:3}}"),
            ("a: {'<<': 1}\n", "{a:{<<:1}}"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(codes("a: &x {p: 1}\nb:\n  p: 2\n  <<: *x\n"), ["merge-order"]);
        assert_eq!(codes("a: {<<: 1}\n"), ["bad-merge"]);
        assert_eq!(codes("a: &x [*x]\n"), ["bad-alias"]);
        assert_eq!(codes("a: &x 1\n---\nb: *x\n"), ["bad-alias"]);
        assert_eq!(codes("b: *x\n"), ["invalid-yaml"]);
    }

    #[test]
    fn tags() {
        assert_eq!(
            shown("[!!str 1, !!int '2', !!float 3, ! 4, !!bool yes, !!null '', !!timestamp 2001-01-01]"),
            "[\"1\",2,3.0,\"4\",true,null,\"2001-01-01\"]"
        );
        assert_eq!(shown("!!map {a: !!seq [b]}"), "{a:[\"b\"]}");
        assert_eq!(
            codes("a: !Ref b\nb: !!binary aGk=\nc: !x {}\nd: !!int x\n"),
            ["unknown-tag", "unknown-tag", "unknown-tag", "bad-tag"]
        );
    }

    #[test]
    fn a_colon_before_a_bracket_is_text() {
        assert_eq!(shown("[001:db8::, a:]"), "[\"001:db8::\",\"a:\"]");
        assert_eq!(shown("[2001:db8::]"), "[\"2001:db8::\"]");
        assert_eq!(shown("[a: , b: c]"), "[{a:null},{b:\"c\"}]");
    }

    #[test]
    fn repeated_keys() {
        let (documents, diagnostics, sources) = load_text("a: 1\nb: 2\na: 3\n");
        assert_eq!(show(&documents[0]), "{a:1,b:2}");
        let text = diagnostics.render(&sources);
        assert!(text.contains("a.yaml:3:1") && text.contains("first given at a.yaml:1:1"), "{text}");
        // Kubernetes knows both as the key `1`.
        assert_eq!(codes("1: a\n'1': b\n"), ["duplicate-key"]);
        assert_eq!(codes("y: a\n"), ["changed-key"]);
    }

    #[test]
    fn bad_keys() {
        assert_eq!(codes("null: a\n"), ["bad-key"]);
        assert_eq!(codes("? [a]\n: b\n"), ["bad-key"]);
        assert_eq!(codes("a: {{ .Values.x }}\n"), ["unrendered-template"]);
    }

    #[test]
    fn broken_text_keeps_what_came_before() {
        let (documents, diagnostics, sources) = load_text("a: b\n---\nc: [d\n---\ne: f\n");
        assert_eq!(documents.len(), 1, "{}", diagnostics.render(&sources));
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(codes("a: b\n\tc: d\n"), ["invalid-yaml"]);
        assert_eq!(codes("{{- if .x }}\na: b\n{{- end }}\n"), ["unrendered-template"]);
        assert_eq!(codes("a: @x\n"), ["invalid-yaml"]);
    }

    #[test]
    fn limits() {
        let bomb: String = (1..30).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1)).collect();
        assert_eq!(codes(&format!("a0: &a0 [x, x]\n{bomb}")), ["too-many-aliases"]);
        assert_eq!(codes(&"[".repeat(1000)), ["nested-too-deeply"]);
        let deep: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        assert_eq!(codes(&deep), ["nested-too-deeply"]);
        let chain: String = (1..200).map(|i| format!("a{i}: &a{i} [*a{}]\n", i - 1)).collect();
        assert_eq!(codes(&format!("a0: &a0 x\n{chain}")), ["nested-too-deeply"]);
    }

    #[test]
    fn places() {
        let text = "ä: ü\r\nlist:\r\n- a: 1\r\n  b: [x, y]\r\n- c\r\nlast: {d: e}\r\n";
        let (documents, _, sources) = load_text(text);
        let root = &documents[0];
        let place = |node: &Node| (node.span.line, node.span.column, sources.snippet(node.span).to_owned());
        assert_eq!(place(root.get("ä").unwrap()), (1, 4, "ü".into()));
        let list = root.get("list").unwrap();
        assert_eq!(place(list), (3, 1, "- a: 1\r\n  b: [x, y]\r\n- c".into()));
        assert_eq!(place(&list.items()[0]), (3, 3, "a: 1\r\n  b: [x, y]".into()));
        assert_eq!(place(list.items()[0].get("b").unwrap()), (4, 6, "[x, y]".into()));
        assert_eq!(place(&list.items()[1]), (5, 3, "c".into()));
        assert_eq!(place(root.get("last").unwrap()), (6, 7, "{d: e}".into()));
        let d = root.get("last").unwrap().get("d").unwrap();
        assert_eq!(root.path_to(d.span).as_deref(), Some("last.d"));
        let y = &list.items()[0].get("b").unwrap().items()[1];
        assert_eq!(root.path_to(y.span).as_deref(), Some("list[0].b[1]"));
    }
}
