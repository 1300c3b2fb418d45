//! Findings that somebody has looked at and doesn't want to see again.

use std::collections::HashMap;
use std::str::FromStr;

use super::messages;
use crate::diagnostic::Diagnostic;
use crate::resource::{Meta, Resources};

/// Annotation of a resource with the codes that are left out for it, separated by commas; `*` is
/// all. Istio's codes may stand for ours.
const ANNOTATION: &str = "galley.istio.io/analyze-suppress";

/// Which findings are left out: `CODE=Kind/NAME.NAMESPACE`, or `CODE` alone.
///
/// `*` stands for any text in both. The code is ours, or Istio's (`IST0101`); between kind and name
/// a blank may stand as well, as `istioctl` has it.
///
/// ```
/// use config_gen::analysis::Suppression;
///
/// let one: Suppression = "IST0101=VirtualService/web.*".parse()?;
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    code: String,
    /// `Kind name.namespace`.
    resource: String,
}

impl FromStr for Suppression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "`{text}` is not of the form CODE=Kind/NAME.NAMESPACE, such as IST0101=VirtualService/web.*"
            )
        };
        let (code, resource) = text.split_once('=').unwrap_or((text, "*"));
        if code.is_empty() || resource.is_empty() {
            return Err(form());
        }
        let resource = match resource.split_once(['/', ' ']) {
            Some((kind, name)) if !kind.is_empty() && name.contains(['.', '*']) => format!("{kind} {name}"),
            None if resource == "*" => resource.to_owned(),
            _ => return Err(form()),
        };
        let known = |message: &messages::Message| {
            wildcard(code, message.code) || message.istio.iter().any(|istio| wildcard(code, istio))
        };
        if !messages::all().any(known) && !["IST0106", "IST0133"].contains(&code) {
            return Err(format!("there is no code `{code}`"));
        }
        Ok(Self { code: code.to_owned(), resource })
    }
}

impl Suppression {
    /// Whether `finding` is left out.
    pub fn suppresses(&self, finding: &Diagnostic) -> bool {
        let code = |code: &str| wildcard(&self.code, code);
        let resource = finding.resource.as_deref().and_then(as_istio_names_it);
        (code(finding.code) || messages::istio_codes(finding).iter().any(|istio| code(istio)))
            && (self.resource == "*" || resource.is_some_and(|resource| wildcard(&self.resource, &resource)))
    }
}

/// `Kind namespace/name` as `Kind name.namespace`.
fn as_istio_names_it(title: &str) -> Option<String> {
    let (kind, rest) = title.split_once(' ')?;
    let (namespace, name) = rest.split_once('/')?;
    Some(format!("{kind} {name}.{namespace}"))
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let cuts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            cuts.filter_map(|at| rest.get(at..)).any(|rest| wildcard(after, rest))
        }),
    }
}

/// What annotations say, by the title of their resource.
pub(super) struct Annotated(HashMap<String, Vec<Suppression>>);

impl Annotated {
    pub(super) fn new(resources: &Resources<'_>) -> Self {
        let Resources {
            service_entries,
            kubernetes_services,
            workload_entries,
            sidecars,
            gateways,
            virtual_services,
            destination_rules,
        } = *resources;
        let metas = service_entries.iter().map(|one| &one.meta);
        let metas = metas.chain(kubernetes_services.iter().map(|one| &one.meta));
        let metas = metas.chain(workload_entries.iter().map(|one| &one.meta));
        let metas = metas.chain(sidecars.iter().map(|one| &one.meta));
        let metas = metas.chain(gateways.iter().map(|one| &one.meta));
        let metas = metas.chain(virtual_services.iter().map(|one| &one.meta));
        let metas = metas.chain(destination_rules.iter().map(|one| &one.meta));
        let suppressions = |meta: &Meta| {
            let codes = meta.annotations.get(ANNOTATION)?;
            let one = |code: &str| Suppression { code: code.trim().to_owned(), resource: "*".to_owned() };
            Some((meta.title(), codes.split(',').map(one).collect()))
        };
        Self(metas.filter_map(suppressions).collect())
    }

    pub(super) fn suppresses(&self, finding: &Diagnostic) -> bool {
        let of_resource = finding.resource.as_ref().and_then(|resource| self.0.get(resource));
        of_resource.is_some_and(|list| list.iter().any(|one| one.suppresses(finding)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suppressions_are_read_or_explained() {
        let of = |code: &'static str, resource: &str| Diagnostic::warning(code, "x").resource(resource);
        let web = of("unknown-destination", "VirtualService shop/web");
        for (text, expected) in [
            ("unknown-destination", true),
            ("unknown-*", true),
            ("IST0101", true),
            ("*", true),
            ("IST0101=VirtualService/web.shop", true),
            ("IST0101=VirtualService web.shop", true),
            ("IST0101=VirtualService/*.shop", true),
            ("IST0101=*/web.*", true),
            ("IST0101=VirtualService/web.default", false),
            ("IST0101=ServiceEntry/*", false),
            ("foreign-host", false),
        ] {
            assert_eq!(text.parse::<Suppression>().unwrap().suppresses(&web), expected, "{text}");
        }
        for bad in ["", "=x", "nonsense", "IST0101=", "IST0101=web", "IST0101=VirtualService/web"] {
            assert!(bad.parse::<Suppression>().is_err(), "{bad}");
        }
    }
}
