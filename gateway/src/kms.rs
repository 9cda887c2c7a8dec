//! The key service of the control store: named keys in it, sealed by the root key, which is not.

use authn::audit::{SIGNING_KEY, signing_key};
use authn::kms::{self, DEFAULT_KEY, DataKey, KeyService, KmsError, SSE_S3_KEY};
use cluster::{Command, ControlPlane, KmsKey, State};
use common::{Clock, Random, SecretKey, SigningKey};
use std::sync::Arc;

pub struct NamedKeys {
    control: Arc<dyn ControlPlane>,
    root: SecretKey,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl NamedKeys {
    pub fn new(
        control: Arc<dyn ControlPlane>,
        root: SecretKey,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Arc<Self> {
        Arc::new(Self { control, root, clock, random })
    }

    pub fn root(&self) -> &SecretKey {
        &self.root
    }

    pub async fn create(&self, name: &str) -> cluster::Result<()> {
        let sealed = kms::new_version(&self.root, &*self.random, name, 1);
        let created_ms = self.clock.now_ms();
        self.control.propose(Command::CreateKmsKey { name: name.to_owned(), created_ms, sealed }).await.map(drop)
    }

    /// Gives the number of the new version.
    pub async fn rotate(&self, name: &str) -> cluster::Result<u32> {
        let state = self.control.read().await?;
        let key = state.kms.get(name).ok_or_else(|| cluster::Error::NoSuchKmsKey(name.to_owned()))?;
        let version = newest(key) + 1;
        let sealed = kms::new_version(&self.root, &*self.random, name, version);
        self.control.propose(Command::RotateKmsKey { name: name.to_owned(), version, sealed }).await?;
        Ok(version)
    }

    /// What signs checkpoints of the audit log.
    pub async fn audit_key(&self) -> Result<SigningKey, KmsError> {
        let state = self.state_with(SIGNING_KEY).await?;
        let sealed = state.kms.get(SIGNING_KEY).and_then(|key| key.versions.first());
        signing_key(&self.root, sealed.ok_or_else(|| KmsError::NotFound(SIGNING_KEY.to_owned()))?)
    }

    /// The state with this key in it. Keys that nobody has to make are made when they are needed.
    async fn state_with(&self, name: &str) -> Result<Arc<State>, KmsError> {
        let state = self.control.current();
        if state.kms.contains_key(name) {
            return Ok(state);
        }
        if ![SSE_S3_KEY, DEFAULT_KEY, SIGNING_KEY].contains(&name) {
            return Err(KmsError::NotFound(name.to_owned()));
        }
        match self.create(name).await {
            // Somebody else needed it too.
            Ok(()) | Err(cluster::Error::KmsKeyExists(_)) => {}
            Err(error) => return Err(KmsError::Unavailable(error.to_string())),
        }
        self.control.read().await.map_err(|error| KmsError::Unavailable(error.to_string()))
    }
}

fn newest(key: &KmsKey) -> u32 {
    key.versions.len().try_into().unwrap_or(u32::MAX)
}

#[async_trait::async_trait]
impl KeyService for NamedKeys {
    async fn generate_data_key(&self, name: &str, context: &[u8]) -> Result<DataKey, KmsError> {
        let state = self.state_with(name).await?;
        let key = state.kms.get(name).ok_or_else(|| KmsError::NotFound(name.to_owned()))?;
        let sealed = key.versions.last().ok_or_else(|| KmsError::NotFound(name.to_owned()))?;
        kms::wrap_new(&self.root, &*self.random, name, (newest(key), sealed), context)
    }

    async fn decrypt(&self, name: &str, context: &[u8], wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        let state = self.control.current();
        let key = state.kms.get(name).ok_or_else(|| KmsError::NotFound(name.to_owned()))?;
        let version = kms::version_of(wrapped)?;
        let sealed = (version as usize).checked_sub(1).and_then(|at| key.versions.get(at)).ok_or(KmsError::Forged)?;
        kms::unwrap(&self.root, name, (version, sealed), context, wrapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::EmbeddedControlPlane;
    use common::doors::{SeededRandom, SimulatedClock};

    #[tokio::test]
    async fn old_versions_open_what_they_have_wrapped() {
        let directory = tempfile::tempdir().expect("a directory");
        let control = EmbeddedControlPlane::open(&directory.path().join("control.redb")).expect("a store");
        let root = SecretKey::from_slice(&[1; 32]).expect("32 bytes");
        let keys = NamedKeys::new(Arc::new(control), root, SimulatedClock::starting_at(1), SeededRandom::new(1));
        let missing = keys.generate_data_key("key-1", b"c").await.err();
        assert_eq!(missing, Some(KmsError::NotFound("key-1".into())));
        keys.create("key-1").await.expect("made");
        assert_eq!(keys.create("key-1").await, Err(cluster::Error::KmsKeyExists("key-1".into())));
        let before = keys.generate_data_key("key-1", b"c").await.expect("a key");
        assert_eq!(keys.rotate("key-1").await, Ok(2));
        let after = keys.generate_data_key("key-1", b"c").await.expect("a key");
        for (made, version) in [(before, 1), (after, 2)] {
            assert_eq!(kms::version_of(&made.wrapped), Ok(version));
            assert_eq!(keys.decrypt("key-1", b"c", &made.wrapped).await, Ok(made.plain));
            assert_eq!(keys.decrypt("key-1", b"d", &made.wrapped).await, Err(KmsError::Forged));
        }
        // Made when it is needed.
        let made = keys.generate_data_key(DEFAULT_KEY, b"c").await.expect("a key");
        assert_eq!(keys.decrypt(DEFAULT_KEY, b"c", &made.wrapped).await, Ok(made.plain));
    }
}
