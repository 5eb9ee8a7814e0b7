use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use parta_ids::Env;
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use sha2::Sha256;

/// The reason why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not an Ed25519 key in PKCS#8 PEM.
    #[error("is not an Ed25519 private key in PKCS#8 PEM")]
    Private,
    /// The text is not an Ed25519 public key.
    #[error("is not an Ed25519 public key: 32 bytes in base64url without padding")]
    Public,
    /// The text is not a secret of 32 bytes in base64url.
    #[error("is not a secret: 32 bytes in base64url without padding")]
    Secret,
    /// The token could not be signed.
    #[error("the token could not be signed")]
    Sign,
}

/// An Ed25519 key pair: the private key as PKCS#8 PEM, the public key as JWK `x`.
#[derive(Clone)]
pub struct KeyPair {
    pem: Arc<SecretString>,
    public: String,
}

impl KeyPair {
    /// Generates a key pair.
    pub fn generate(env: &Env) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        env.ids.fill(&mut seed);
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Private)?;
        Self::from_pem(&pem)
    }

    /// Parses a key pair from PKCS#8 PEM.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Private)?;
        // Older and newer PKCS#8 forms differ. jsonwebtoken requires the one that dalek writes.
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Private)?;
        Ok(Self {
            pem: Arc::new(SecretString::from(pem.as_str().to_owned())),
            public: URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes()),
        })
    }

    /// Returns the private key. Store it where only its owner can read it.
    pub fn pem(&self) -> &str {
        self.pem.expose_secret()
    }

    /// Returns the public key as JWK `x`.
    pub fn public(&self) -> &str {
        &self.public
    }

    pub(crate) fn encoding_key(&self) -> Result<jsonwebtoken::EncodingKey, KeyError> {
        jsonwebtoken::EncodingKey::from_ed_pem(self.pem().as_bytes()).map_err(|_| KeyError::Private)
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.public)
    }
}

/// The master secret of a service. Every other secret is derived from it, so nothing else must be stored.
#[derive(Clone)]
pub struct Secrets(Arc<SecretBox<[u8; 32]>>);

impl Secrets {
    /// Wraps 32 random bytes.
    pub fn new(master: [u8; 32]) -> Self {
        Self(Arc::new(SecretBox::new(Box::new(master))))
    }

    /// Generates a master secret.
    pub fn generate(env: &Env) -> Self {
        let mut master = [0; 32];
        env.ids.fill(&mut master);
        Self::new(master)
    }

    /// Parses the text form.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text.trim())
            .map_err(|_| KeyError::Secret)?;
        Ok(Self::new(bytes.try_into().map_err(|_| KeyError::Secret)?))
    }

    /// Returns the text form. Store it in a file that only its owner can read.
    pub fn to_text(&self) -> SecretString {
        SecretString::from(URL_SAFE_NO_PAD.encode(self.0.expose_secret()))
    }

    /// Derives the key of one purpose (HKDF-SHA256, RFC 5869). The same label always gives the same key.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        let mut key = [0; 32];
        #[expect(
            clippy::expect_used,
            reason = "HKDF-SHA256 returns up to 8160 bytes; continuing with zeros would be worse"
        )]
        Hkdf::<Sha256>::new(None, self.0.expose_secret())
            .expand(label.as_bytes(), &mut key)
            .expect("32 bytes are within the output limit of HKDF");
        key
    }

    /// Derives the master secret of one part of Parta, for example of a service.
    pub fn child(&self, label: &str) -> Self {
        Self::new(self.derive(label))
    }

    /// Returns the HMAC-SHA256 of `bytes` with the key of one purpose.
    pub fn hmac(&self, label: &str, bytes: &[u8]) -> [u8; 32] {
        self.keyed(label).digest([bytes])
    }

    /// Returns an HMAC-SHA256 with the key of one purpose, which is derived once for many digests.
    pub fn keyed(&self, label: &str) -> KeyedDigest {
        // HMAC pads a key with zeros to the block size of 64 bytes. A full block never has an invalid length.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.derive(label));
        KeyedDigest(<Hmac<Sha256> as hmac::KeyInit>::new(&block.into()))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// Computes digests with one key. Created by [`Secrets::keyed`].
#[derive(Clone)]
pub struct KeyedDigest(Hmac<Sha256>);

impl KeyedDigest {
    /// Returns the digest of the concatenated parts.
    pub fn digest<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for KeyedDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedDigest")
    }
}
