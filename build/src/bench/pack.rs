//! How long packing 10 MiB takes, beside the same cryptography done by `ring`, whose assembly is OpenSSL's.
//!
//! A package needs AES-256-GCM over the image and SHA-256 over image and ciphertext: that is what the reference does, one after the
//! other on one core. Packing does more (it checks the image's own digest, signs twice and puts the file together) and uses the
//! cores there are. The best of several turns counts, the two taking turns, so that what else the machine does hits both.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use sha2::{Digest, Sha256};
use trustbox_api::key::{KeyRef, Name};
use trustbox_api::message::Version;
use trustbox_api::{Bytes, TRUSTBOX_UUID};
use trustbox_keys::files;
use trustbox_package::{ClassKey, Edition, seal};

use super::measure::Measured;

const SIZE: usize = 10 << 20;
const TURNS: usize = 40;

/// Time of packing and, as a ratio, beside AES-GCM alone; and the time of the reference.
pub(super) fn figures() -> Result<(Vec<Measured>, Vec<Measured>)> {
    let (image, edition) = (image(), edition()?);
    let (class_key, publisher) = (ClassKey::generate()?, files::generate()?);
    let (mut ours, mut reference, mut alone) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        ours = ours.min(timed(|| Ok(seal(&image, &edition, &class_key, &publisher).map(drop)?))?);
        reference = reference.min(timed(|| same_by_ring(&image))?);
        let mut bytes = image.clone();
        alone = alone.min(timed(|| encrypt(&mut bytes))?);
    }
    let time = |taken: Duration| Measured::new("pack_10mib", taken.as_secs_f64() * 1000.0, "ms");
    let to_alone = ours.as_secs_f64() / alone.as_secs_f64();
    let to_alone = Measured::new("pack_to_gcm_alone", to_alone, "times AES-GCM alone by ring");
    Ok((vec![time(ours), to_alone], vec![time(reference)]))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn same_by_ring(image: &[u8]) -> Result<()> {
    let mut ciphertext = image.to_vec();
    black_box(digest(&SHA256, image));
    encrypt(&mut ciphertext)?;
    black_box(digest(&SHA256, &ciphertext));
    Ok(())
}

/// The key is thrown away, so its nonce is used once.
fn encrypt(bytes: &mut [u8]) -> Result<()> {
    let failed = |_| anyhow!("AES-GCM failed");
    let key = UnboundKey::new(&AES_256_GCM, ClassKey::generate()?.expose()).map_err(failed)?;
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let sealed = LessSafeKey::new(key).seal_in_place_separate_tag(nonce, Aad::empty(), bytes);
    let _ = black_box(sealed.map_err(failed)?);
    Ok(())
}

/// As `Image` wants it; nobody looks at the signature.
fn image() -> Vec<u8> {
    let payload: Vec<u8> =
        (0..SIZE as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut header = Vec::new();
    [0x4f54_5348, 1, SIZE as u32, 0x7041_4930]
        .iter()
        .for_each(|field: &u32| header.extend(field.to_le_bytes()));
    header.extend([32, 0, 0x80, 1]);
    let content = [TRUSTBOX_UUID.0.as_ref(), &1_u32.to_le_bytes(), &payload].concat();
    let digest = Sha256::new().chain_update(&header).chain_update(&content).finalize();
    [&header[..], &digest, &[0; 384], &content].concat()
}

fn edition() -> Result<Edition> {
    Ok(Edition {
        name: Name::from("bench").map_err(|_| anyhow!("name is too long"))?,
        vendor: String::new(),
        owner_root: Bytes([0; 32]),
        class_key: KeyRef::new("bench", 1).ok_or_else(|| anyhow!("name is too long"))?,
        min_optee: Version(4, 10, 0),
        min_ta: Version(0, 1, 0),
        date: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_an_image() {
        let image = image();
        assert_eq!(trustbox_package::image::Image::read(&image).unwrap().size as usize, image.len());
        assert!(image.len() > SIZE && same_by_ring(&image).is_ok());
    }
}
