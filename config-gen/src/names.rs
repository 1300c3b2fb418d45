//! Host names as Istio compares them.

use std::net::IpAddr;

use crate::options::DOMAIN_SUFFIX;

/// The host that a resource of `namespace` means: a name without a dot is one of its own
/// namespace's Kubernetes services (VIS-08, VIS-09).
pub fn expand(host: &str, namespace: &str) -> String {
    if host.contains('.') || host == "*" || host.parse::<IpAddr>().is_ok() {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.{DOMAIN_SUFFIX}")
    }
}

/// The names by which a client of `client_namespace` may call the Kubernetes service `host`;
/// none for other hosts (VH-08).
pub fn short_forms(host: &str, client_namespace: &str) -> Vec<String> {
    let Some(name) = host.strip_suffix(DOMAIN_SUFFIX).and_then(|rest| rest.strip_suffix(".svc.")) else {
        return Vec::new();
    };
    let Some((service, namespace)) = name.rsplit_once('.') else { return Vec::new() };
    let mut forms = vec![format!("{name}.svc"), name.to_owned()];
    if namespace == client_namespace {
        forms.push(service.to_owned());
    }
    forms
}

/// The text after the `*` of a wildcard host.
fn suffix(host: &str) -> Option<&str> {
    host.strip_prefix('*')
}

/// Whether every name that `host` stands for is one that `pattern` stands for.
pub fn covers(pattern: &str, host: &str) -> bool {
    match (suffix(pattern), suffix(host)) {
        (None, None) => pattern == host,
        (Some(pattern), None) => host.len() > pattern.len() && host.ends_with(pattern),
        (Some(pattern), Some(host)) => host.ends_with(pattern),
        (None, Some(_)) => false,
    }
}

/// Whether some name belongs to both.
pub fn overlaps(one: &str, other: &str) -> bool {
    covers(one, other) || covers(other, one)
}

/// The domains of a virtual host for `host`: with the form that ends in a dot, unless it is
/// an address (VH-01).
pub fn domains(host: &str) -> Vec<String> {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    if address.parse::<IpAddr>().is_ok() {
        vec![host.to_owned()]
    } else {
        vec![host.to_owned(), format!("{host}.")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_expanded() {
        assert_eq!(expand("webserver", "default"), "webserver.default.svc.cluster.local");
        for whole in ["a.b", "*", "10.0.0.1", "::1"] {
            assert_eq!(expand(whole, "default"), whole);
        }
    }

    #[test]
    fn short_forms_depend_on_the_client() {
        let host = "web.shop.svc.cluster.local";
        assert_eq!(short_forms(host, "shop"), ["web.shop.svc", "web.shop", "web"]);
        assert_eq!(short_forms(host, "default"), ["web.shop.svc", "web.shop"]);
        assert!(short_forms("a.example.com", "default").is_empty());
    }

    #[test]
    fn wildcards_cover_what_is_narrower() {
        assert!(covers("*.example.com", "a.b.example.com"));
        assert!(covers("*.example.com", "*.a.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("a.example.com", "*.example.com"));
        assert!(overlaps("*.a.example.com", "*.example.com") && !overlaps("*.a.com", "*.b.com"));
    }
}
