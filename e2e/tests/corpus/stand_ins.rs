//! Certificates and keys in place of those that the files name, which are on nobody's disk.

use std::path::Path;

use anyhow::Result;
use portolan_e2e::Ca;

/// Where they stand.
pub(crate) struct StandIns {
    authority: String,
    certificate: String,
    key: String,
}

impl StandIns {
    pub(crate) fn new(directory: &Path, ca: &Ca) -> Result<Self> {
        let authority = directory.join("authority.pem");
        ca.write_bundle(&authority)?;
        let (certificate, key) = ca.issue(&["stand-in.example.com"])?.write(directory, "stand-in")?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Ok(Self { authority: text(&authority), certificate: text(&certificate), key: text(&key) })
    }

    /// `text` with these in place of files that aren't there.
    pub(crate) fn replace(&self, text: &str) -> String {
        let mut lines: Vec<String> = Vec::new();
        // What the next file is for.
        let mut purpose = "";
        for line in text.lines() {
            for word in ["trusted_ca", "certificate_chain", "private_key"] {
                if line.contains(word) {
                    purpose = word;
                }
            }
            let stand_in = match purpose {
                "trusted_ca" => &self.authority,
                "certificate_chain" => &self.certificate,
                _ => &self.key,
            };
            let missing =
                line.split_once("filename").filter(|_| !purpose.is_empty()).and_then(|(_, rest)| {
                    let path = rest.trim_matches([':', ' ', '"', ',', '}']);
                    (path.starts_with('/') && !Path::new(path).exists()).then_some(path)
                });
            lines.push(match missing {
                Some(path) => line.replace(path, stand_in),
                None => line.to_owned(),
            });
        }
        lines.join("\n") + "\n"
    }
}
