//! A run for people: as text for a terminal, and as an HTML timeline.

mod html;
mod text;

pub use html::timeline;
pub use text::{Paint, text};
