//! An authenticator app: what it reads from an `otpauth:` address, and the codes it shows (RFC 6238).

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// The code that an app shows at this time: SHA-1, six digits, steps of 30 seconds.
///
/// # Panics
/// Where the secret is not base32.
#[must_use]
pub fn code(secret_base32: &str, unix_seconds: i64) -> String {
    let secret = BASE32_NOPAD.decode(secret_base32.as_bytes()).expect("a secret in base32");
    let mut mac = Hmac::<Sha1>::new_from_slice(&secret).expect("a key of any length");
    mac.update(&unix_seconds.div_euclid(30).to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest[19] & 0x0f);
    let four: [u8; 4] = digest[offset..offset + 4].try_into().expect("four bytes");
    format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
}

/// A parameter of an `otpauth:` address, as it stands there.
#[must_use]
pub fn parameter(uri: &str, name: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, v)| v.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, cut to six digits.
    #[test]
    fn the_vectors_of_the_standard() {
        let secret = BASE32_NOPAD.encode(b"12345678901234567890");
        for (at, want) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(&secret, at), want);
        }
        assert_eq!(parameter("otpauth://totp/a:b?secret=AB&digits=6", "digits").as_deref(), Some("6"));
    }
}
