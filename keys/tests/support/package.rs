//! A package whose class key is in the service, and the same opened with that key.

use sha2::{Digest, Sha256};
use trustbox_api::Secret;
use trustbox_api::key::{KeyId, KeyRef, Name};
use trustbox_api::message::Version;
use trustbox_keys::client::ServiceKey;
use trustbox_keys::dev::Role;
use trustbox_keys::files;
use trustbox_package::image::MAGIC;
use trustbox_package::seal::{Edition, SealError, seal};
use trustbox_package::sign::public_key;
use trustbox_package::{ClassKey, Package, open};

use super::{Live, World};

/// A signed image as OP-TEE has it, version 3, with nothing in it that would run.
pub fn image() -> Vec<u8> {
    const RSA_PSS_SHA256: u32 = 0x7041_4930;
    let payload = b"payload";
    let size = payload.len() as u32;
    let mut header: Vec<u8> =
        [MAGIC, 1, size, RSA_PSS_SHA256].into_iter().flat_map(u32::to_le_bytes).collect();
    header.extend([32_u16, 384].into_iter().flat_map(u16::to_le_bytes));
    let content = [&b"an enclave uuid!"[..], &3_u32.to_le_bytes(), payload].concat();
    let digest = Sha256::new().chain_update(&header).chain_update(&content).finalize();
    [&header[..], &digest, &[0; 384], &content].concat()
}

/// The owner root of a world.
pub fn root(world: &World) -> KeyId {
    public_key(world.keys.owner_root.verifying_key()).id()
}

/// Packs for the class key `meter` as a client of the service.
pub async fn pack(live: &Live, world: &World, client: &str) -> Result<Vec<u8>, SealError> {
    let (url, identity) = (live.url.clone(), world.path("tls").join(client));
    let publisher = files::load_private(&world.keys.private_path(Role::Publisher)).unwrap();
    let edition = Edition {
        name: Name::try_from("meter").unwrap(),
        vendor: String::new(),
        owner_root: root(world),
        class_key: KeyRef::new("meter", 1).unwrap(),
        min_optee: Version(4, 10, 0),
        min_ta: Version(0, 1, 0),
        date: 0,
    };
    let sealed = tokio::task::spawn_blocking(move || {
        seal(&image(), &edition, &ServiceKey::new(&url, &identity, edition.class_key), &publisher)
    });
    sealed.await.unwrap()
}

/// What is in a package, with its class key.
pub fn opened(package: &[u8], key: &[u8]) -> Vec<u8> {
    let mut secret = Secret::zero();
    secret.expose_mut().copy_from_slice(key);
    let package = Package::read(package).unwrap();
    open::open(&package, Some(&ClassKey::new(secret))).unwrap().to_vec()
}
