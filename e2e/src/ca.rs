//! A throw-away certificate authority.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// A certificate authority with a key of its own, which exists only in memory.
#[derive(Debug)]
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as a server or a client presents it.
#[derive(Debug, Clone)]
pub struct Identity {
    names: Vec<String>,
    serial: u64,
    certificate_pem: String,
    key_pem: String,
    certified: Arc<CertifiedKey>,
}

impl Ca {
    /// Makes an authority. No two have the same name.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("Portolan test CA {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// Issues a certificate for these names: host names, `*.example.com`, or IP
    /// addresses.
    pub fn issue(&self, names: &[&str]) -> Result<Identity> {
        self.sign(names, |_| {})
    }

    /// Issues a certificate whose time is over.
    pub fn issue_expired(&self, names: &[&str]) -> Result<Identity> {
        self.sign(names, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    /// The certificate of the authority, as one trusts it: PEM.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes [`Self::bundle_pem`] to a file.
    pub fn write_bundle(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        fs::write(path, self.bundle_pem()).with_context(|| format!("write {}", path.display()))
    }

    /// A list of certificates that are not to be trusted any more, as PEM.
    pub fn revoke(&self, identities: &[&Identity]) -> Result<String> {
        let time = date_time_ymd(2020, 1, 1);
        let revoked = |identity: &&Identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: time,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: time,
            next_update: date_time_ymd(2200, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: identities.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    fn sign(&self, names: &[&str], adjust: impl FnOnce(&mut CertificateParams)) -> Result<Identity> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names.clone())?;
        params.distinguished_name = common_name(names.first().map_or("nobody", String::as_str));
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        adjust(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let signer =
            any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))?;
        Ok(Identity {
            names,
            serial,
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certified: Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer)),
        })
    }
}

impl Identity {
    /// The names that the certificate is for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The certificate, as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key, as PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The certificate, as it is sent.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        self.certified.cert.first().map(AsRef::as_ref).unwrap_or_default()
    }

    /// Writes `<stem>.crt` and `<stem>.key` (PEM) to a directory; returns the
    /// two paths.
    pub fn write(&self, directory: impl AsRef<Path>, stem: &str) -> Result<(PathBuf, PathBuf)> {
        let certificate = directory.as_ref().join(format!("{stem}.crt"));
        let key = directory.as_ref().join(format!("{stem}.key"));
        for (path, text) in [(&certificate, &self.certificate_pem), (&key, &self.key_pem)] {
            fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
        }
        Ok((certificate, key))
    }

    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
