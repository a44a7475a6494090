//! Log lines and progress bars on standard error.

use tracing_indicatif::IndicatifLayer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// Log lines of level info, or what RUST_LOG says, around the progress bars.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let bars = IndicatifLayer::new();
    let lines = fmt::layer()
        .with_writer(bars.get_stderr_writer())
        .with_target(false)
        .without_time();
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(bars)
        .init();
}
