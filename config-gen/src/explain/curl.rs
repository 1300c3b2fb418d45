//! A curl command: what it sends, as far as rules can see it.

use super::typed::Typed;

/// What curl sends where a command doesn't say otherwise; of its version nothing is known.
const OWN_HEADERS: [(&str, &str); 2] = [("user-agent", "curl/8.0.0"), ("accept", "*/*")];

/// Reads a command that begins with `curl`.
pub(super) fn read(command: &str) -> Result<Typed, String> {
    let mut words = shell_words(command)?.into_iter();
    if words.next().as_deref() != Some("curl") {
        return Err("`--curl` takes a command that begins with `curl`".to_owned());
    }
    let mut curl = Curl::default();
    while let Some(word) = words.next() {
        let mut next = |option: &str, attached: Option<String>| {
            attached.or_else(|| words.next()).ok_or_else(|| format!("`{option}` of curl needs a value"))
        };
        if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
            // `--request=PUT`
            let (name, attached) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            match long_option(name) {
                Some(Kind::Flag(flag)) if attached.is_none() => curl.flag(flag),
                Some(Kind::Value(option)) => curl.value(option, next(&word, attached)?),
                _ => return Err(unknown(&word)),
            }
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            // `-sXPUT`, `-s -X PUT`
            let mut rest = letters.chars();
            while let Some(letter) = rest.next() {
                match short_option(letter) {
                    Some(Kind::Flag(flag)) => curl.flag(flag),
                    Some(Kind::Value(option)) => {
                        let attached = rest.as_str();
                        curl.value(option, next(&word, (!attached.is_empty()).then(|| attached.to_owned()))?);
                        break;
                    }
                    None => return Err(unknown(&format!("-{letter}"))),
                }
            }
        } else if curl.url.is_some() {
            return Err(format!("`{word}` would be a second URL"));
        } else {
            curl.url = Some(word);
        }
    }
    Ok(curl.typed())
}

fn unknown(option: &str) -> String {
    format!("`{option}` of curl is not known here; leave it out if it doesn't change the request")
}

/// What an option does, as far as it matters.
#[derive(Clone, Copy)]
enum Kind {
    Flag(Flag),
    Value(Setting),
}

#[derive(Clone, Copy)]
enum Flag {
    Harmless,
    Head,
    /// Data goes into the query.
    Get,
}

#[derive(Clone, Copy)]
enum Setting {
    Harmless,
    Method,
    Header,
    UserAgent,
    Referer,
    Cookie,
    Data,
    Json,
    Form,
    Upload,
    Url,
}

fn short_option(letter: char) -> Option<Kind> {
    Some(match letter {
        's' | 'S' | 'v' | 'k' | 'L' | 'i' | 'f' | 'g' | 'N' | 'n' | 'O' | '4' | '6' | '#' => {
            Kind::Flag(Flag::Harmless)
        }
        'I' => Kind::Flag(Flag::Head),
        'G' => Kind::Flag(Flag::Get),
        'X' => Kind::Value(Setting::Method),
        'H' => Kind::Value(Setting::Header),
        'A' => Kind::Value(Setting::UserAgent),
        'e' => Kind::Value(Setting::Referer),
        'b' => Kind::Value(Setting::Cookie),
        'd' => Kind::Value(Setting::Data),
        'F' => Kind::Value(Setting::Form),
        'T' => Kind::Value(Setting::Upload),
        // Where the answer goes, and how long it may take.
        'o' | 'w' | 'm' | 'c' | 'D' => Kind::Value(Setting::Harmless),
        _ => return None,
    })
}

fn long_option(name: &str) -> Option<Kind> {
    Some(match name {
        "silent"
        | "show-error"
        | "verbose"
        | "insecure"
        | "location"
        | "include"
        | "fail"
        | "fail-with-body"
        | "globoff"
        | "no-buffer"
        | "ipv4"
        | "ipv6"
        | "http1.1"
        | "http2"
        | "http2-prior-knowledge"
        | "path-as-is"
        | "progress-bar"
        | "remote-name" => Kind::Flag(Flag::Harmless),
        "head" => Kind::Flag(Flag::Head),
        "get" => Kind::Flag(Flag::Get),
        "request" => Kind::Value(Setting::Method),
        "header" => Kind::Value(Setting::Header),
        "user-agent" => Kind::Value(Setting::UserAgent),
        "referer" => Kind::Value(Setting::Referer),
        "cookie" => Kind::Value(Setting::Cookie),
        "data" | "data-raw" | "data-ascii" | "data-binary" | "data-urlencode" => Kind::Value(Setting::Data),
        "json" => Kind::Value(Setting::Json),
        "form" | "form-string" => Kind::Value(Setting::Form),
        "upload-file" => Kind::Value(Setting::Upload),
        "url" => Kind::Value(Setting::Url),
        // Where the connection goes, and what becomes of the answer.
        "connect-to" | "resolve" | "output" | "write-out" | "cacert" | "cert" | "key" | "max-time"
        | "connect-timeout" | "retry" | "retry-delay" | "cookie-jar" | "dump-header" => {
            Kind::Value(Setting::Harmless)
        }
        _ => return None,
    })
}

#[derive(Default)]
struct Curl {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<String>,
    data: Vec<String>,
    head: bool,
    get: bool,
    upload: bool,
    /// Of the body, where no header says it.
    content_type: Option<&'static str>,
}

impl Curl {
    fn flag(&mut self, flag: Flag) {
        match flag {
            Flag::Harmless => {}
            Flag::Head => self.head = true,
            Flag::Get => self.get = true,
        }
    }

    fn value(&mut self, setting: Setting, value: String) {
        match setting {
            Setting::Method => self.method = Some(value),
            Setting::Header => self.headers.push(value),
            Setting::UserAgent => self.headers.push(format!("user-agent: {value}")),
            Setting::Referer => self.headers.push(format!("referer: {value}")),
            Setting::Cookie if value.contains('=') => self.headers.push(format!("cookie: {value}")),
            // A cookie without an equals sign is a file.
            Setting::Cookie | Setting::Harmless => {}
            Setting::Url => self.url = Some(value),
            Setting::Data => {
                self.data.push(value);
                self.content_type.get_or_insert("application/x-www-form-urlencoded");
            }
            Setting::Json => {
                self.data.push(value);
                self.content_type = Some("application/json");
                self.headers.push("accept: application/json".to_owned());
            }
            Setting::Form => {
                self.data.push(value);
                self.content_type = Some("multipart/form-data");
            }
            Setting::Upload => self.upload = true,
        }
    }

    fn typed(mut self) -> Typed {
        if self.get && !self.data.is_empty() {
            let query = self.data.join("&");
            self.url = self.url.map(|url| {
                let url = url.split('#').next().unwrap_or_default().to_owned();
                let sign = if url.contains('?') { '&' } else { '?' };
                format!("{url}{sign}{query}")
            });
            self.content_type = None;
        }
        let method = match self {
            Self { head: true, .. } => "HEAD",
            Self { upload: true, .. } => "PUT",
            Self { get: false, ref data, .. } if !data.is_empty() => "POST",
            _ => "GET",
        };
        let mut headers = Vec::new();
        let own = OWN_HEADERS.into_iter().chain(self.content_type.map(|value| ("content-type", value)));
        for (name, value) in own {
            let names = |line: &String| {
                let end = line.find([':', ';']).unwrap_or(line.len());
                line.get(..end).is_some_and(|known| known.trim().eq_ignore_ascii_case(name))
            };
            if !self.headers.iter().any(names) {
                headers.push(format!("{name}: {value}"));
            }
        }
        for line in self.headers {
            match (line.strip_suffix(':'), line.strip_suffix(';')) {
                // `X-A:` takes curl's own header out, `X-A;` sends it empty.
                (Some(_), _) => {}
                (_, Some(name)) if !name.contains(':') => headers.push(format!("{name}:")),
                _ => headers.push(line),
            }
        }
        Typed {
            url: self.url,
            method: Some(self.method.unwrap_or_else(|| method.to_owned())),
            headers,
            port: None,
        }
    }
}

/// The words of a shell command: blanks, both quotes, backslashes.
pub(crate) fn shell_words(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => match chars.next() {
                Some('\n') => {}
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("the curl command ends in a backslash".to_owned()),
            },
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote of the curl command isn't closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Asked;
    use crate::request::Request;

    fn request(command: &str) -> Request {
        match read(command).and_then(Typed::asked) {
            Ok(Asked::Http(request)) => request,
            other => panic!("{command}: {other:?}"),
        }
    }

    fn header(request: &Request, name: &str) -> Option<String> {
        let line = request.headers.iter().find(|(known, _)| known == name)?;
        Some(line.1.escape_ascii().to_string())
    }

    #[test]
    fn commands_are_read() {
        let asked = request(
            "curl -sSv -XPUT \\\n -H 'X-User: a \"b\"' -H Accept: --data=x -H host:other \"http://a:8080?x=1#y\"",
        );
        let expected = Request {
            by_tls: false,
            by_proxy: false,
            random: 0,
            port: 8080,
            method: "PUT".to_owned(),
            authority: b"other".to_vec(),
            path: b"/?x=1".to_vec(),
            headers: [
                ("user-agent", "curl/8.0.0"),
                ("content-type", "application/x-www-form-urlencoded"),
                ("x-user", "a \"b\""),
            ]
            .map(|(name, value)| (name.to_owned(), value.into()))
            .to_vec(),
        };
        assert_eq!(asked, expected);
        for (command, method) in
            [("-d x", "POST"), ("-I", "HEAD"), ("-T f", "PUT"), ("-Gd x", "GET"), ("-sSLXDELETE", "DELETE")]
        {
            assert_eq!(request(&format!("curl a {command}")).method, method, "{command}");
        }
        assert_eq!(request("curl -G -d x=1 --data y a/?z").path, b"/?z&x=1&y");
        assert_eq!(header(&request("curl --json {} a"), "accept").as_deref(), Some("application/json"));
        assert_eq!(header(&request("curl -b 'a=b' a"), "cookie").as_deref(), Some("a=b"));
        assert_eq!(header(&request("curl -A me a"), "user-agent").as_deref(), Some("me"));
        assert_eq!(header(&request("curl -H 'X-A;' a"), "x-a").as_deref(), Some(""));
        for wrong in [
            "wget a",
            "curl",
            "curl a b",
            "curl 'a",
            "curl --proxy x a",
            "curl -H x a",
            "curl a -X",
            "curl -Q a",
        ] {
            assert!(read(wrong).and_then(Typed::asked).is_err(), "{wrong}");
        }
    }
}
