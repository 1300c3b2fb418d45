//! Files in place of secrets: what a `credentialName` or the mesh's own certificates stand for
//! outside Kubernetes (DR-TLS-17, GAP-13).

use std::str::FromStr;

/// The name under which the certificates of `mode: ISTIO_MUTUAL` are given.
pub const MESH: &str = "ISTIO_MUTUAL";

/// What a name of a `ConfigMap` begins with; it holds a CA and nothing else.
const CONFIG_MAP: &str = "configmap://";

/// A credential by its files, as Envoy finds them: `NAME=DIR` or `NAME=cert=FILE,key=FILE,...`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// As written in `credentialName`, or [`MESH`].
    pub name: String,
    /// What is presented to the destination.
    pub identity: Option<Identity>,
    /// Bundle of authorities that the destination is checked against.
    pub ca: Option<String>,
    /// Certificates that these authorities have revoked.
    pub crl: Option<String>,
}

/// A certificate with its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The certificate, and those that lead to its authority.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl FromStr for Credential {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, files) = text
            .split_once('=')
            .filter(|(name, files)| !name.is_empty() && !files.is_empty())
            .ok_or_else(|| {
                format!(
                    "`{text}` is not of the form NAME=DIR or NAME=cert=FILE,key=FILE,cacert=FILE,crl=FILE, \
                     such as client=/etc/client"
                )
            })?;
        if files.contains('=') { from_files(name, files) } else { Ok(from_directory(name, files)) }
    }
}

/// The keys of a Kubernetes TLS secret are its files; the mesh's have the names that Istio's
/// agent writes.
fn from_directory(name: &str, directory: &str) -> Credential {
    let [certificate, key, ca] = match name {
        MESH => ["cert-chain.pem", "key.pem", "root-cert.pem"],
        _ => ["tls.crt", "tls.key", "ca.crt"],
    }
    .map(|file| format!("{}/{file}", directory.trim_end_matches('/')));
    Credential {
        name: name.to_owned(),
        identity: (!is_config_map(name)).then_some(Identity { certificate, key }),
        ca: Some(ca),
        crl: None,
    }
}

/// Names as the keys of Istio's generic secrets.
fn from_files(name: &str, files: &str) -> Result<Credential, String> {
    let [mut certificate, mut key, mut ca, mut crl] = [const { None::<String> }; 4];
    for entry in files.split(',') {
        let (what, file) = entry.split_once('=').unwrap_or((entry, ""));
        let place = match what {
            "cert" => &mut certificate,
            "key" => &mut key,
            "cacert" => &mut ca,
            "crl" => &mut crl,
            _ => return Err(format!("`{what}` is none of `cert`, `key`, `cacert` and `crl`")),
        };
        if file.is_empty() {
            return Err(format!("`{what}` of `{name}` needs a file: {what}=FILE"));
        }
        if place.replace(file.to_owned()).is_some() {
            return Err(format!("`{what}` of `{name}` is given twice"));
        }
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        _ => return Err(format!("`{name}` needs both `cert` and `key`, or neither")),
    };
    Ok(Credential { name: name.to_owned(), identity, ca, crl })
}

/// Whether a name is that of a `ConfigMap`, which every sidecar may read.
pub fn is_config_map(name: &str) -> bool {
    name.starts_with(CONFIG_MAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_the_keys_of_a_secret() {
        let read = |text: &str| text.parse::<Credential>().unwrap();
        let client = read("client=/etc/client/");
        let identity = client.identity.unwrap();
        assert_eq!(
            (
                client.name.as_str(),
                identity.certificate.as_str(),
                identity.key.as_str(),
                client.ca.as_deref()
            ),
            ("client", "/etc/client/tls.crt", "/etc/client/tls.key", Some("/etc/client/ca.crt"))
        );
        let bundle = read("configmap://root=/etc/root");
        assert_eq!((bundle.identity, bundle.ca.as_deref()), (None, Some("/etc/root/ca.crt")));
        let mesh = read("ISTIO_MUTUAL=/etc/certs");
        assert_eq!(mesh.identity.unwrap().certificate, "/etc/certs/cert-chain.pem");
        assert_eq!(mesh.ca.as_deref(), Some("/etc/certs/root-cert.pem"));
    }

    #[test]
    fn files_are_named_one_by_one() {
        let read = "a/b=cert=c.pem,key=k.pem,crl=r.pem".parse::<Credential>().unwrap();
        assert_eq!((read.name.as_str(), read.ca, read.crl.as_deref()), ("a/b", None, Some("r.pem")));
        assert_eq!("x=cacert=a.pem".parse::<Credential>().unwrap().identity, None);
        for (bad, why) in [
            ("x", "NAME=DIR"),
            ("=dir", "NAME=DIR"),
            ("x=", "NAME=DIR"),
            ("x=cert=a", "both `cert` and `key`"),
            ("x=ca=a", "`ca` is none of"),
            ("x=cert=a,key", "`key` of `x` needs a file"),
            ("x=key=a,key=b", "given twice"),
        ] {
            let error = bad.parse::<Credential>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
