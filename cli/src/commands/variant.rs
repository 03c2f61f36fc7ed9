//! `tidegate variant`.
use crate::{context::Context, failure::Failure, signing::Signing, terminal::table};
use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_domain::{
    command::RegisterVariant,
    variant::{Selector, VariantTraits},
};

/// Hardware variants: model × revision × region × carrier.
#[derive(Debug, Subcommand)]
pub(crate) enum Variant {
    Register(Register),
    List(List),
}

/// Registers a variant. Devices of a variant that is not registered are offered nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate variant register gw-200/b2/eu-west/none")]
pub(crate) struct Register {
    /// The variant as `model/revision/region/carrier`; the carrier is `none` without one.
    #[arg(value_name = "VARIANT")]
    traits: VariantTraits,
    #[command(flatten)]
    signing: Signing,
}

/// Lists the variants.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate variant list 'gw-200/*/*/*'")]
pub(crate) struct List {
    /// Only these.
    #[arg(default_value = "*")]
    selector: Selector,
}

impl Variant {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Register(register) => register.run(context).await,
            Self::List(list) => list.run(context).await,
        }
    }
}

impl Register {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let done = format!("variant {} is registered", self.traits);
        let command = RegisterVariant {
            traits: self.traits,
        };
        context.submit(&self.signing, command, &done).await
    }
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let view = context.view().await?;
        let (mut rows, mut json) = (Vec::new(), Vec::new());
        for (id, variant) in view.state().variants().iter() {
            if !self.selector.matches(&variant.traits) {
                continue;
            }
            rows.push(vec![id.to_string(), variant.traits.to_string()]);
            json.push(json!({ "id": id.0, "variant": variant.traits.to_string() }));
        }
        let text = table(&["NUMBER", "VARIANT"], &rows);
        context.terminal.show(text, json!({ "variants": json }));
        Ok(())
    }
}
