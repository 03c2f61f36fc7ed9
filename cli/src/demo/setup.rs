//! The first act: a cluster, its keys, its fleet.
use super::{
    Options, Shared, Tally,
    agent::Work,
    agents::{Agents, BrokenOn},
    clock::FastClock,
    cluster::Cluster,
    desk::Desk,
    keyring::Keyring,
    observe::Observer,
    payload::{self, PayloadFile},
    story::{Mark, Story},
};
use crate::fleet::{Counters, Fleet, Plan, Running, Totals};
use anyhow::{Context, bail, ensure};
use std::{path::Path, sync::Arc, time::Duration};
use tidegate_domain::{
    State,
    command::{RegisterRelease, RegisterVariant, RotateKeys, SetClusterConfig, pae},
    id::{Component, Epoch, Hash, Millis, ReleaseName, SecurityVersion, SignatureBytes},
    key::Role,
    release::{ArtifactKind, MANIFEST_PAYLOAD_TYPE, Manifest, Payload, VariantPayload},
    variant::{Selector, VariantTraits},
};

/// The cluster's name.
pub(super) const ORIGIN: &str = "tidegate.example/demo";
/// What the demo updates.
pub(super) const COMPONENT: &str = "detector-model";
/// Devices that do everything for real.
const AGENTS: u64 = 50;
/// The hardware model on which the bad release does not boot.
const FRAIL_MODEL: &str = "cam-z9";
/// The fleet's variants.
const VARIANTS: [&str; 4] = [
    "cam-x1/r1/eu/none",
    "cam-x1/r2/us/none",
    "cam-x2/r1/us/none",
    "cam-z9/r1/ap/none",
];

/// Everything that is on stage.
pub(super) struct Stage {
    pub(super) options: Options,
    pub(super) story: Shared<Story>,
    pub(super) cluster: Cluster,
    pub(super) desk: Shared<Desk>,
    pub(super) observer: Observer,
    pub(super) counters: Shared<Counters>,
    pub(super) tally: Tally,
    payload_url: String,
    source: std::path::PathBuf,
    fleet: Option<Fleet>,
    agents: Option<Agents>,
    work: Shared<Work>,
}

/// Refuses a directory that holds what the demo did not leave there.
pub(super) fn check_out_dir(out: &Path) -> anyhow::Result<()> {
    const OURS: [&str; 8] = [
        "audit",
        "audit-tampered",
        "decisions",
        "devices",
        "payloads",
        "report.html",
        "stores",
        "summary.json",
    ];
    if !out.exists() {
        return std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()));
    }
    for entry in std::fs::read_dir(out).with_context(|| out.display().to_string())? {
        let name = entry?.file_name();
        if !OURS.iter().any(|ours| name.to_str() == Some(ours)) {
            bail!(
                "{} holds {}, which is not from a demo: name another directory with --out",
                out.display(),
                Path::new(&name).display()
            );
        }
    }
    for ours in OURS {
        let path = out.join(ours);
        if path.is_dir() {
            std::fs::remove_dir_all(&path)?;
        } else if path.exists() {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Raises the curtain: everything runs, nothing is offered yet.
pub(super) async fn raise(options: &Options) -> anyhow::Result<Stage> {
    ensure!(
        options.devices > AGENTS,
        "the demo needs more than {AGENTS} devices"
    );
    let clock = FastClock::starting_now(options.hours_per_second.saturating_mul(3_600));
    let story = Arc::new(Story::begin(clock, options.quiet, options.colour));
    story.act("1. A cluster in three regions, and its keys");
    let keys = Arc::new(Keyring::draw(3, 2)?);
    let mut cluster = Cluster::start(
        &options.out.join("stores"),
        Arc::clone(&keys),
        Arc::new(clock),
    )
    .await?;
    story.tell("three store nodes run, in regions eu, us and ap");
    let desk = Arc::new(Desk::new(
        cluster.client()?,
        Arc::clone(&keys),
        ORIGIN,
        Arc::new(clock),
    ));
    hold_ceremony(&desk, &story).await?;
    desk.resolve(cluster.membership()?).await?;
    register_variants(&desk, &story).await?;

    let payload_dir = options.out.join("payloads");
    std::fs::create_dir_all(&payload_dir)?;
    let address = payload::serve(payload_dir.clone()).await?;
    let source = match &options.payload {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("finding the running binary")?,
    };
    cluster.start_decisions(&story).await?;
    let counters = Arc::new(Counters::default());
    let high_water = cluster.high_water("observer").await?;
    let observer = Observer::start(
        &desk,
        Arc::new(clock),
        high_water,
        Arc::clone(&story),
        Arc::clone(&counters),
    )
    .await;
    let mut stage = Stage {
        options: options.clone(),
        story,
        cluster,
        desk,
        observer,
        counters,
        tally: Tally::default(),
        payload_url: format!("http://{address}"),
        source,
        fleet: None,
        agents: None,
        work: Arc::default(),
    };
    stage.settle_baseline().await?;
    stage.start_fleet().await?;
    Ok(stage)
}

async fn hold_ceremony(desk: &Desk, story: &Story) -> anyhow::Result<()> {
    let rotate = RotateKeys {
        epoch: Epoch(1),
        roles: desk.keys.proposed()?,
        strand: false,
    };
    let roots = desk.keys.quorum(Role::Root);
    let answer = desk.propose(rotate.into(), &roots).await?;
    answer.context("the key ceremony was refused")?;
    story.mark(
        Mark::Info,
        "ceremony",
        "key ceremony: two of three root keys signed epoch 1",
    );
    let mut config = desk.look().await?.state().config().clone();
    config.report_interval = Millis(500);
    desk.resolve(SetClusterConfig { config }).await?;
    Ok(())
}

async fn register_variants(desk: &Desk, story: &Story) -> anyhow::Result<()> {
    for variant in variants()?.iter() {
        desk.order(RegisterVariant {
            traits: variant.clone(),
        })
        .await?;
    }
    story.tell(format!(
        "{} hardware variants are registered",
        VARIANTS.len()
    ));
    Ok(())
}

fn variants() -> anyhow::Result<Arc<Vec<VariantTraits>>> {
    let parsed = VARIANTS
        .iter()
        .map(|text| Ok(text.parse()?))
        .collect::<anyhow::Result<_>>()?;
    Ok(Arc::new(parsed))
}

impl Stage {
    /// The factory release: registered, and by a quorum's word the baseline.
    async fn settle_baseline(&mut self) -> anyhow::Result<()> {
        self.publish("detector-v3.1", "3.1.0", 1).await?;
        let spec = super::rollouts::factory_spec()?;
        let rollout = super::rollouts::begin(&self.desk, spec).await?;
        super::rollouts::complete_by_override(&self.desk, rollout).await?;
        // The observer tells of it, too: here, and not somewhere in the next act.
        let complete = |state: &State| {
            let found = state.rollouts().get(&rollout);
            found.is_some_and(|rollout| rollout.life.is_final())
        };
        self.observer
            .until(super::rollouts::PATIENCE, complete)
            .await;
        self.story
            .tell("a quorum declares detector-v3.1, which is in all devices, the baseline");
        Ok(())
    }

    async fn start_fleet(&mut self) -> anyhow::Result<()> {
        let plan = Plan {
            devices: self.options.devices - AGENTS,
            first: AGENTS,
            nodes: self.cluster.decision_urls(),
            connections_per_node: 4,
            interval: Duration::from_secs(3),
            install_time: Duration::from_millis(1_500),
            variants: variants()?,
            component: COMPONENT.into(),
            running: Running {
                version: "3.1.0".into(),
                security_version: 1,
            },
            behaviour: Arc::new(BrokenOn {
                release: "detector-v3.3".into(),
                model: FRAIL_MODEL.into(),
            }),
        };
        let agents = Plan {
            devices: AGENTS,
            first: 0,
            ..plan.clone()
        };
        let keys = self.desk.look().await?.state().keys().clone();
        let (dir, image) = (
            self.options.out.join("devices"),
            self.options.out.join("payloads").join("detector-v3.1"),
        );
        let agents = Agents::start(&agents, &dir, &image, keys, Arc::clone(&self.counters))?;
        self.work = Arc::clone(&agents.work);
        self.agents = Some(agents);
        self.fleet = Some(Fleet::start(&plan, &self.counters));
        self.story.tell(format!(
            "{} devices check in over {} connections; {AGENTS} of them fetch and install for real",
            self.options.devices,
            plan.connections_per_node * plan.nodes.len() as u64 + AGENTS
        ));
        Ok(())
    }

    /// Publishes a payload made from the source file, signs a release of it and registers it.
    pub(super) async fn publish(
        &self,
        name: &str,
        version: &str,
        security_version: u64,
    ) -> anyhow::Result<()> {
        let dir = self.options.out.join("payloads");
        let (file, source) = (name.to_owned(), self.source.clone());
        let note = if security_version == 1 {
            String::new()
        } else {
            format!("\n{name}\n")
        };
        let payload =
            tokio::task::spawn_blocking(move || payload::publish(&dir, &file, &source, &note))
                .await??;
        let manifest = self.manifest(name, version, security_version, &payload)?;
        let manifest = tidegate_domain::canonical::encode(&manifest);
        let message = pae(MANIFEST_PAYLOAD_TYPE, &manifest);
        let mut signatures: Vec<_> = self
            .desk
            .keys
            .quorum(Role::Release)
            .into_iter()
            .map(|key| tidegate_domain::command::Signature {
                key: super::keyring::public(key),
                signature: SignatureBytes(ed25519_dalek::Signer::sign(key, &message).to_bytes()),
            })
            .collect();
        signatures.sort_by_key(|signature| signature.key);
        self.desk
            .order(RegisterRelease {
                manifest,
                signatures,
            })
            .await?;
        self.story.tell(format!(
            "release {name} is registered: {} bytes, signed by two of three release keys",
            payload.size
        ));
        Ok(())
    }

    fn manifest(
        &self,
        name: &str,
        version: &str,
        security_version: u64,
        payload: &PayloadFile,
    ) -> anyhow::Result<Manifest> {
        Ok(Manifest {
            origin: ORIGIN.to_owned(),
            name: ReleaseName::new(name)?,
            kind: ArtifactKind::Model,
            component: Component::new(COMPONENT)?,
            version: version.parse()?,
            security_version: SecurityVersion(security_version),
            payloads: vec![VariantPayload {
                selector: Selector::ALL,
                payload: Payload {
                    sha256: Hash(payload.sha256),
                    size: payload.size,
                    urls: vec![format!("{}/{}", self.payload_url, payload.name)],
                    delta: None,
                },
            }],
            upgradable_from: None,
            requires: Vec::new(),
            critical_security: false,
            audience: Selector::ALL,
        })
    }

    /// What the fleet has counted so far.
    pub(super) fn fleet_totals(&self) -> Totals {
        self.counters.totals()
    }

    /// What the agents have done so far.
    pub(super) fn work(&self) -> Shared<Work> {
        Arc::clone(&self.work)
    }

    /// Stops the fleet: what follows is between operators and auditors.
    pub(super) async fn still(&mut self) -> anyhow::Result<()> {
        if let Some(fleet) = self.fleet.take() {
            fleet.stop().await;
        }
        if let Some(agents) = self.agents.take() {
            agents.stop().await;
        }
        self.cluster.stop_decisions().await
    }
}
