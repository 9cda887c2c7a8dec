//! The keys of issuers: fetched when `authn` says so, one issuer once at a time. An issuer is contacted only for an account
//! that has registered it, never because a token names it.

use crate::outbound::Fetcher;
use authn::web_identity::{Answer, KeyCache, KeySet, Refusal, Trust, Unverified, WebIdentity};
use common::Clock;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Of the discovery document, and of the keys.
const DOCUMENT_BYTES_MAX: usize = 512 * 1024;

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A discovery document (OpenID Connect Discovery 1.0), as far as it is of use.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Clone)]
pub struct Issuers(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    fetcher: Fetcher,
    cache: Mutex<KeyCache>,
    /// Who fetches holds the issuer's lock. There are as many as there are fetches going on, and waiters.
    fetching: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Issuers {
    pub fn new(clock: Arc<dyn Clock>, fetcher: Fetcher) -> Self {
        Self(Arc::new(Inner { clock, fetcher, cache: Mutex::default(), fetching: Mutex::default() }))
    }

    /// Judges a token of an issuer that is registered.
    pub async fn verify(&self, token: &Unverified<'_>, trust: &Trust<'_>) -> Result<WebIdentity, Refusal> {
        let keys = self.keys(trust.issuer, token.key_id()).await.ok_or(Refusal::KeysUnavailable)?;
        token.verify(&keys, trust, self.0.clock.now_ms())
    }

    async fn keys(&self, issuer: &str, key_id: Option<&str>) -> Option<Arc<KeySet>> {
        if let Answer::Keys(keys) = self.0.ask(issuer, key_id) {
            return Some(keys);
        }
        // A fetch that was begun is finished, whether or not this client waits for it.
        let (inner, issuer, key_id) = (Arc::clone(&self.0), issuer.to_owned(), key_id.map(str::to_owned));
        let fetch = tokio::spawn(async move {
            let lock = inner.lock(&issuer);
            let held = lock.lock().await;
            if matches!(inner.ask(&issuer, key_id.as_deref()), Answer::Fetch) {
                inner.fetch(&issuer).await;
            }
            let answer = inner.ask(&issuer, key_id.as_deref());
            drop(held);
            drop(lock);
            inner.unlock(&issuer);
            answer
        });
        match fetch.await {
            Ok(Answer::Keys(keys) | Answer::Last(Some(keys))) => Some(keys),
            Ok(Answer::Last(None) | Answer::Fetch) | Err(_) => None,
        }
    }
}

impl Inner {
    fn ask(&self, issuer: &str, key_id: Option<&str>) -> Answer {
        let now_ms = self.clock.now_ms();
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).ask(issuer, key_id, now_ms)
    }

    async fn fetch(&self, issuer: &str) {
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache().begin(issuer, self.clock.now_ms());
        let fetched = self.try_fetch(issuer).await;
        if let Err(reason) = &fetched {
            tracing::warn!(issuer, reason, "the keys of an issuer of web identities could not be fetched");
        }
        cache().end(issuer, fetched.ok(), self.clock.now_ms());
    }

    async fn try_fetch(&self, issuer: &str) -> Result<(KeySet, Option<u64>), String> {
        let url = self.fetcher.url(&format!("{}{DISCOVERY}", issuer.strip_suffix('/').unwrap_or(issuer)))?;
        let discovery = self.fetcher.get(&url, DOCUMENT_BYTES_MAX).await?;
        let discovery: Discovery = serde_json::from_slice(&discovery.body)
            .map_err(|error| format!("the discovery document is none: {error}"))?;
        if discovery.issuer != issuer {
            return Err(format!("the discovery document is of another issuer, {}", discovery.issuer));
        }
        let url = self.fetcher.url(&discovery.jwks_uri)?;
        let keys = self.fetcher.get(&url, DOCUMENT_BYTES_MAX).await?;
        let set = KeySet::parse(&keys.body).map_err(|error| error.to_string())?;
        Ok((set, keys.fresh_seconds))
    }

    fn lock(&self, issuer: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.entry(issuer.to_owned()).or_default().clone()
    }

    /// Forgets the lock when nobody else has it.
    fn unlock(&self, issuer: &str) {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if fetching.get(issuer).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            fetching.remove(issuer);
        }
    }
}
