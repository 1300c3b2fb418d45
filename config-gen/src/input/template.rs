//! Text that some tool was meant to fill in before Istio saw it.

/// A sort of template, and how it is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// `{{ ... }}`: Helm, Go templates, Jinja.
    Braces,
    /// `${NAME}`, `$(NAME)` or a value that is nothing but `$NAME`.
    Variable,
    /// `<% ... %>`.
    Percent,
}

impl Template {
    /// What to do about it.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Template::Braces => {
                "this looks like an unrendered template: render it first, for example with `helm template`"
            }
            Template::Variable => {
                "this looks like an unrendered template: put the values in first, for example with `envsubst`"
            }
            Template::Percent => "this looks like an unrendered template: render it first",
        }
    }
}

/// Whether a value looks like a template.
pub(crate) fn in_value(text: &str) -> Option<Template> {
    let bounded = |open: &str, close: &str| {
        text.find(open).and_then(|at| text.get(at + open.len()..)).is_some_and(|rest| rest.contains(close))
    };
    let name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if bounded("{{", "}}") {
        Some(Template::Braces)
    } else if bounded("<%", "%>") {
        Some(Template::Percent)
    } else if bounded("${", "}") || bounded("$(", ")") || text.strip_prefix('$').is_some_and(name) {
        Some(Template::Variable)
    } else {
        None
    }
}

/// Whether text that is no YAML looks like a template. `line` is where the
/// reader gave up; the cause may stand anywhere before.
pub(crate) fn in_broken_text(before: &str, line: &str) -> Option<Template> {
    in_value(line).or_else(|| before.lines().find_map(in_broken_line))
}

fn in_broken_line(line: &str) -> Option<Template> {
    // A comment about templates is no template.
    if line.trim_start().starts_with('#') {
        return None;
    }
    in_value(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_recognised() {
        for (text, expected) in [
            ("{{ .Values.host }}", Some(Template::Braces)),
            ("a-{{x}}-b", Some(Template::Braces)),
            ("${HOST}", Some(Template::Variable)),
            ("api.$(DOMAIN)", Some(Template::Variable)),
            ("$INGRESS_HOST", Some(Template::Variable)),
            ("<%= host %>", Some(Template::Percent)),
            ("api.example.com", None),
            ("{\"a\":{\"b\":{}}}", None),
            ("^/a$", None),
            ("$", None),
            ("{{", None),
        ] {
            assert_eq!(in_value(text), expected, "{text}");
        }
    }

    #[test]
    fn a_comment_is_no_template() {
        assert_eq!(in_broken_text("# {{ a }}\na: b\n", "c: ]"), None);
        assert_eq!(in_broken_text("{{- if .a }}\na: b\n", "c: ]"), Some(Template::Braces));
    }
}
