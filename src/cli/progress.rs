//! Progress bars on standard error; nothing where that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar named `name` that counts `unit`.
pub fn bar(name: &'static str, unit: &str) -> ProgressBar {
    let template = format!(
        "{{msg}} {{wide_bar}} {{percent}}% {{human_pos}} {unit} ({{per_sec}}, {{eta}} left)"
    );
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_message(name)
}
