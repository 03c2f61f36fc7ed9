//! What an agent refuses to boot: over real HTTP, into real slots.
use super::*;
use tidegate_domain::{
    command::{RevokeKey, Signature},
    id::Hash,
    testing::{Fleet, reason, release},
};
use tidegate_proto::v1;

const IMAGE: &[u8] = b"the release, byte for byte";

/// A device, a release of [`IMAGE`] that two of three release keys signed, and its payload server.
struct Rig {
    folder: tempfile::TempDir,
    agent: Agent,
    fleet: Fleet,
    offer: Offer,
    work: Work,
}

async fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let published = folder.path().join("payloads");
    std::fs::create_dir(&published).unwrap();
    std::fs::write(published.join("os-2"), IMAGE).unwrap();
    let (sha256, size) = payload::digest(&published.join("os-2")).unwrap();
    let server = payload::serve(published).await.unwrap();
    let mut builder = release("os-2");
    let part = &mut builder.manifest.payloads[0].payload;
    (part.sha256, part.size) = (Hash(sha256), size);
    let fleet = Fleet::new();
    let registration = fleet.registration(builder);
    let signature = |Signature { key, signature }: Signature| v1::ManifestSignature {
        public_key: key.0.to_vec(),
        signature: signature.0.to_vec(),
    };
    let offer = Offer {
        release: "os-2".to_owned(),
        payload: Some(v1::Payload {
            urls: vec![format!("http://{server}/os-2")],
            sha256: sha256.to_vec(),
            size,
        }),
        manifest: registration.manifest,
        signatures: registration.signatures.into_iter().map(signature).collect(),
        ..Offer::default()
    };
    let factory = folder.path().join("factory");
    std::fs::write(&factory, b"factory").unwrap();
    let agent = Agent::provision(folder.path().join("device"), &factory).unwrap();
    Rig {
        folder,
        agent,
        fleet,
        offer,
        work: Work::default(),
    }
}

impl Rig {
    fn publish(&self, image: &[u8]) {
        std::fs::write(self.folder.path().join("payloads/os-2"), image).unwrap();
    }

    async fn install(&mut self, cut_at: Option<u64>) -> anyhow::Result<()> {
        let keys = self.fleet.state.keys();
        let agent = &mut self.agent;
        agent.install(&self.offer, keys, cut_at, &self.work).await
    }

    /// Nothing is installed, the reason is said, and the device boots what it booted before.
    async fn refuses(&mut self, says: &str) {
        let why = self.install(None).await.unwrap_err().to_string();
        assert!(why.contains(says), "{why}");
        assert_eq!(self.boots(), ("slot-a".to_owned(), b"factory".to_vec()));
        assert_eq!(self.work.refused.load(Ordering::Relaxed), 1);
        assert_eq!(self.work.installs.load(Ordering::Relaxed), 0);
    }

    /// The slot that is booted, and what is in it.
    fn boots(&self) -> (String, Vec<u8>) {
        let device = self.folder.path().join("device");
        let slot = std::fs::read_to_string(device.join("active")).unwrap();
        let image = std::fs::read(device.join(&slot)).unwrap();
        (slot, image)
    }
}

#[tokio::test]
async fn what_was_signed_is_booted_even_if_its_download_was_cut() {
    for cut_at in [None, Some(7)] {
        let mut rig = rig().await;
        rig.install(cut_at).await.unwrap();
        assert_eq!(rig.boots(), ("slot-b".to_owned(), IMAGE.to_vec()));
        let resumed = rig.work.resumed.load(Ordering::Relaxed);
        assert_eq!(resumed, u64::from(cut_at.is_some()));
    }
}

#[tokio::test]
async fn a_payload_with_another_hash_is_refused() {
    let mut rig = rig().await;
    let mut image = IMAGE.to_vec();
    image[3] ^= 1;
    rig.publish(&image);
    rig.refuses("SHA-256 is not the one that was signed").await;
}

#[tokio::test]
async fn an_offer_of_another_payload_than_the_manifest_has_is_refused() {
    let mut rig = rig().await;
    let mut image = IMAGE.to_vec();
    image[3] ^= 1;
    rig.publish(&image);
    let path = rig.folder.path().join("payloads/os-2");
    let (sha256, _) = payload::digest(&path).unwrap();
    if let Some(payload) = &mut rig.offer.payload {
        payload.sha256 = sha256.to_vec();
    }
    rig.refuses("the manifest has no such payload").await;
}

#[tokio::test]
async fn one_signature_of_two_or_the_same_twice_is_too_few() {
    let mut rig = rig().await;
    rig.offer.signatures.truncate(1);
    let same = rig.offer.signatures[0].clone();
    rig.offer.signatures.push(same);
    rig.refuses("1 of 2 needed release signatures").await;
}

#[tokio::test]
async fn a_revoked_keys_signature_counts_no_more() {
    let mut rig = rig().await;
    let mut key = [0; 32];
    key.copy_from_slice(&rig.offer.signatures[0].public_key);
    rig.fleet.accept(RevokeKey {
        key: tidegate_domain::id::PublicKey(key),
        reason: reason(),
        strand: true,
    });
    rig.refuses("1 of 2 needed release signatures").await;
}
