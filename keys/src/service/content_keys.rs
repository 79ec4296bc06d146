//! Content keys of packages: wrapped under a class key here, so that who packs needs no class key.
//!
//! A build agent makes the content key, encrypts with it, and sends it with the package's manifest, whose digests follow from
//! that; wrapped, it belongs to that manifest and no other. Which packages a key is for, its policy says. The nonce is made
//! here: two packages under one nonce would give both away.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes as Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, State};
use trustbox_api::Secret;
use trustbox_api::manifest::Terms;
use trustbox_api::statement::Header;
use trustbox_package::class_key;

use super::identity::Client;
use super::problem::{Answer, Reason, Refusal};
use super::release::{allowed, version};
use super::store::KeyRow;
use super::{Service, now};
use crate::policy::{Finding, PackageFacts};
use crate::protocol::{ContentKeyAnswer, ContentKeyRequest};

/// `POST /v1/keys/{name}/content-keys`.
pub async fn wrap(
    State(service): State<Arc<Service>>,
    Extension(client): Extension<Client>,
    Path(name): Path<String>,
    body: Result<Body, BytesRejection>,
) -> Answer<Json<ContentKeyAnswer>> {
    let asked = Asked::parse(&service.body(body)?, &name)?;
    let object = format!(
        "key {} application {} version {}",
        class_key::name(&asked.terms.class_key),
        asked.terms.uuid,
        asked.terms.version
    );
    asked.answer(&service, &client, &object).await.map(Json).map_err(|refusal| refusal.about(&object))
}

/// A package's manifest up to its content key, and that key.
struct Asked {
    header: Header,
    terms: Terms,
    /// Both, as encoded.
    manifest: Vec<u8>,
    content_key: Secret<32>,
}

impl Asked {
    fn parse(body: &[u8], name: &str) -> Answer<Self> {
        let bad = |what: &str| Refusal::new(Reason::Malformed, what);
        let request: ContentKeyRequest = super::parse(body)?;
        let parts = request.manifest().ok_or_else(|| bad("manifest: not header and terms of a package"));
        let (header, terms, manifest) = parts?;
        let content_key = request.content_key();
        let content_key = content_key.ok_or_else(|| bad("content_key: not the base64 of 32 bytes"))?;
        if terms.class_key.name.as_str() != name {
            return Err(bad("manifest: it names another class key than the path"));
        }
        Ok(Self { header, terms, manifest, content_key })
    }

    async fn answer(self, service: &Service, client: &Client, object: &str) -> Answer<ContentKeyAnswer> {
        let (key, row) = (self.terms.class_key, service.key(self.terms.class_key.name.as_str()).await?);
        self.check(service, client, &row)?;
        let material = &row.choose(Some(key.version))?.material;
        let wrapped = service.vault.wrap_content_key(&key, material, self.manifest, self.content_key).await?;
        let image = self.terms.plaintext_sha256;
        let event = super::registry::event(client, "wrap-content-key", object, format!("image {image}"));
        service.writer.note(event).await?;
        Ok(ContentKeyAnswer::new(&key, &wrapped))
    }

    /// Every rule in its order.
    fn check(&self, service: &Service, client: &Client, key: &KeyRow) -> Answer<()> {
        let at = now();
        let (publisher, application) = (self.terms.publisher.to_string(), self.terms.uuid.to_string());
        let facts =
            PackageFacts { agent: &client.name, publisher: &publisher, application: &application, now: at };
        let root = self.header.root;
        let owner =
            Finding::of("owner-root", root == service.owner_root, format!("the manifest is under {root}"));
        let policy = key.policy()?.judge_package(&facts).into_iter();
        let rules = [version(key, Some(self.terms.class_key.version), at), (Reason::Policy, owner)];
        allowed(rules.into_iter().chain(policy.map(|finding| (Reason::Policy, finding))))
    }
}
