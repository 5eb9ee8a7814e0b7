use parta_ids::ManualClock;
use parta_testkit::Authority;

use super::*;

struct Files {
    folder: tempfile::TempDir,
    env: Env,
    clock: Arc<ManualClock>,
}

impl Files {
    fn new() -> Self {
        crate::use_one_tls_provider();
        let clock = Arc::new(ManualClock::new(Env::system().now()));
        let env = Env {
            clock: clock.clone(),
            ..Env::system()
        };
        let folder = tempfile::tempdir().unwrap();
        Self { folder, env, clock }
    }

    fn write(&self, certificate: &str, key: &str) -> (PathBuf, PathBuf) {
        let (first, second) = (
            self.folder.path().join("tls.crt"),
            self.folder.path().join("tls.key"),
        );
        std::fs::write(&first, certificate).unwrap();
        std::fs::write(&second, key).unwrap();
        (first, second)
    }

    fn refusal(&self, certificate: &str, key: &str) -> String {
        let (certificate, key) = self.write(certificate, key);
        format!(
            "{:#}",
            ServerTls::read(&certificate, &key, &self.env).err().unwrap()
        )
    }
}

#[test]
fn unusable_files_are_refused() {
    let (files, authority) = (Files::new(), Authority::new());
    let (one, other) = (authority.issue("localhost"), authority.issue("localhost"));
    for (certificate, key, expected) in [
        ("", one.key.as_str(), "has no certificate"),
        (one.certificate.as_str(), "", "has no private key in PEM"),
        // The two files are exchanged.
        (
            one.certificate.as_str(),
            one.certificate.as_str(),
            "has no private key in PEM",
        ),
        (one.key.as_str(), one.certificate.as_str(), "has no certificate"),
        (
            one.certificate.as_str(),
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "cannot be used",
        ),
        (
            one.certificate.as_str(),
            "-----BEGIN PRIVATE KEY-----\nAAAA\n",
            "the line -----END PRIVATE KEY----- is missing",
        ),
        (
            one.certificate.as_str(),
            "-----BEGIN PRIVATE KEY\nAAAA\n-----END PRIVATE KEY-----\n",
            "a line that begins with -----BEGIN has no end",
        ),
        (
            one.certificate.as_str(),
            other.key.as_str(),
            "is not that of the certificate",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            one.key.as_str(),
            "certificate 1 in",
        ),
    ] {
        let text = files.refusal(certificate, key);
        assert!(text.contains(expected), "{text}");
    }
    let nowhere = files.folder.path().join("nowhere");
    let missing = ServerTls::read(&nowhere, &nowhere, &files.env).err().unwrap();
    assert!(format!("{missing:#}").contains("nowhere"), "{missing:#}");
    let empty = files.folder.path().join("empty.crt");
    std::fs::write(&empty, "").unwrap();
    assert!(authority_error(&empty).contains("has no certificate"));
}

/// The parser passes the first form over, and calls the second one wrong base64.
#[test]
fn encrypted_private_key_is_called_so() {
    let (files, authority) = (Files::new(), Authority::new());
    let issued = authority.issue("localhost");
    let pkcs8 = issued.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let openssl = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n\
                   AAAA\n-----END EC PRIVATE KEY-----\n";
    for key in [pkcs8.as_str(), openssl, &openssl.replace('\n', "\r\n")] {
        let text = files.refusal(&issued.certificate, key);
        let file = files.folder.path().join("tls.key");
        let named = format!("the private key in {} is encrypted", file.display());
        assert!(
            text.contains(&named) && text.contains("without a passphrase"),
            "{text}"
        );
        assert!(!text.contains("base64"), "{text}");
    }
}

/// With an authority that is PEM around other bytes, the start would succeed and every handshake would fail.
#[test]
fn each_certificate_of_a_file_is_parsed() {
    const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let (files, authority) = (Files::new(), Authority::new());
    let issued = authority.issue("localhost");
    let chain = format!("{}{NO_CERTIFICATE}", issued.certificate);
    let text = files.refusal(&chain, &issued.key);
    assert!(text.contains("certificate 2 in"), "{text}");
    let file = files.folder.path().join("ca.crt");
    for (content, named) in [
        (NO_CERTIFICATE.to_owned(), "certificate 1 in"),
        (
            format!("{}{NO_CERTIFICATE}", authority.certificate()),
            "certificate 2 in",
        ),
    ] {
        std::fs::write(&file, content).unwrap();
        let text = authority_error(&file);
        assert!(
            text.contains(named) && text.contains(&file.display().to_string()),
            "{text}"
        );
    }
}

fn authority_error(file: &Path) -> String {
    read_authority(file).err().unwrap().to_string()
}

#[test]
fn certificate_is_refused_outside_its_validity() {
    let (files, authority) = (Files::new(), Authority::new());
    let issued = authority.issue("localhost");
    files.clock.set("1970-01-01T00:00:00Z".parse().unwrap());
    let text = files.refusal(&issued.certificate, &issued.key);
    assert!(text.contains("is not valid before"), "{text}");
    files.clock.set("9000-01-01T00:00:00Z".parse().unwrap());
    let text = files.refusal(&issued.certificate, &issued.key);
    assert!(text.contains("has expired"), "{text}");
}

#[test]
fn replaced_certificate_is_used_and_an_unusable_one_is_not() {
    let (files, authority) = (Files::new(), Authority::new());
    let (first, second) = (authority.issue("localhost"), authority.issue("localhost"));
    let (certificate_file, key_file) = files.write(&first.certificate, &first.key);
    let tls = ServerTls::read(&certificate_file, &key_file, &files.env).unwrap();
    assert!(!tls.reload().unwrap());
    let before = tls.current.get().cert.clone();
    files.write(&second.certificate, &first.key);
    tls.reload().unwrap_err();
    assert_eq!(tls.current.get().cert, before);
    files.write(&second.certificate, &second.key);
    assert!(tls.reload().unwrap());
    assert_ne!(tls.current.get().cert, before);
}

#[test]
fn replaced_authority_is_used_and_an_unusable_one_is_not() {
    let (files, first, second) = (Files::new(), Authority::new(), Authority::new());
    let file = files.folder.path().join("ca.crt");
    std::fs::write(&file, first.certificate()).unwrap();
    let trusted = TrustedAuthority::read(&file).unwrap();
    let pem = || trusted.pem.read().unwrap().clone();
    assert!(!trusted.reload().unwrap());
    std::fs::write(&file, "").unwrap();
    trusted.reload().unwrap_err();
    assert_eq!(pem(), first.certificate().as_bytes());
    std::fs::write(&file, second.certificate()).unwrap();
    assert!(trusted.reload().unwrap());
    assert_eq!(pem(), second.certificate().as_bytes());
}
