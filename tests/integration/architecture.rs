//! Holds the layout: who may import whom, and which crate may appear where.
//! The rules are those of `docs/architecture.md`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Folder (or file) of `src`, and the modules of this crate that it may name.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("runtime", &["domain"]),
    ("wire", &["domain"]),
    ("metrics", &[]),
    ("event_log", &["domain", "runtime", "metrics"]),
    ("gateway", &["domain", "runtime", "metrics"]),
    ("auth", &["domain", "runtime", "metrics", "wire"]),
    ("command", &["domain", "event_log", "projection", "runtime", "metrics", "wire"]),
    ("ingest", &["gateway", "command", "domain", "metrics"]),
    ("projection", &["event_log", "domain", "wire", "runtime", "metrics"]),
    ("media", &["event_log", "command", "projection", "gateway", "domain", "runtime", "metrics"]),
    ("erasure", &["command", "media", "projection", "domain", "runtime"]),
    ("feed", &["projection", "event_log", "wire", "domain", "runtime", "metrics"]),
    ("outbox", &["event_log", "command", "projection", "gateway", "domain", "runtime", "metrics"]),
    ("bulk", &["event_log", "command", "projection", "domain", "runtime", "metrics"]),
    (
        "delivery",
        &["feed", "projection", "command", "auth", "wire", "domain", "runtime", "metrics"],
    ),
    (
        "api",
        &[
            "ingest",
            "command",
            "projection",
            "feed",
            "gateway",
            "media",
            "auth",
            "wire",
            "domain",
            "runtime",
            "metrics",
            "delivery",
        ],
    ),
];

/// Modules that put the others together: they may name all, and nobody names them.
const COMPOSITION: &[&str] = &["app", "cli", "config", "console", "main", "lib"];

/// A crate, and the path prefixes under `src` where it may appear.
const CRATE_ONLY_IN: &[(&str, &[&str])] = &[
    ("rusqlite", &["event_log/sqlite", "projection"]),
    ("poem", &["api", "delivery", "auth", "console", "app", "wire/problem"]),
    ("poem_openapi", &["api", "wire", "cli", "app"]),
    ("hyper", &["delivery", "gateway/simulator/provider"]),
    ("reqwest", &["auth", "gateway", "cli"]),
    ("jsonwebtoken", &["auth"]),
    ("object_store", &["media/store"]),
    ("infer", &["media"]),
];

struct Source {
    /// Path below `src`, without `.rs`.
    path: String,
    /// The code outside of comments, strings left as they are, tests cut off.
    code: String,
}

impl Source {
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or(&self.path)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .map(|file| {
            let path = file.strip_prefix(&root).expect("below src").with_extension("");
            let text = fs::read_to_string(&file).expect("readable source");
            Source { path: path.to_string_lossy().into_owned(), code: code_of(&text) }
        })
        .filter(|source| !source.path.ends_with("tests") && !source.path.contains("/tests/"))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code without comment lines and without the items that are for tests only.
fn code_of(text: &str) -> String {
    let mut kept = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let indent = &line[..line.len() - line.trim_start().len()];
            skip_item(indent, &mut lines);
        } else if !line.trim_start().starts_with("//") {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// Goes behind the item whose lines begin with `indent`, as rustfmt writes it: one line, or up to
/// the brace that stands where it began.
fn skip_item(indent: &str, lines: &mut std::str::Lines<'_>) {
    let is_end = |line: &str| {
        let own = line.strip_prefix(indent).filter(|rest| !rest.starts_with(' '));
        own.is_some_and(|rest| rest.ends_with(';') || rest.starts_with('}') || rest.ends_with("{}"))
    };
    lines.find(|line| is_end(line));
}

/// The modules of this crate that `code` names, as `crate::a` or inside `crate::{a, b}`.
fn modules_named(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (start, _) in code.match_indices("crate::") {
        let before = code[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => names_at_top_of_group(group, &mut found),
            None => {
                found.insert(leading_name(rest));
            }
        }
    }
    found.remove("");
    found
}

fn names_at_top_of_group(group: &str, found: &mut BTreeSet<String>) {
    let mut depth = 0;
    let mut expecting = true;
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return,
            '}' => depth -= 1,
            ',' if depth == 0 => expecting = true,
            c if expecting && depth == 0 && c.is_alphabetic() => {
                found.insert(leading_name(&group[index..]));
                expecting = false;
            }
            _ => {}
        }
    }
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn modules_import_only_what_the_layout_allows() {
    let mut broken = Vec::new();
    for source in sources() {
        let module = source.module();
        if COMPOSITION.contains(&module) {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("src/{}: the module `{module}` has no rule", source.path));
            continue;
        };
        for named in modules_named(&source.code) {
            // A macro or item of the crate's root begins with another letter case or is this module.
            let is_module = MAY_IMPORT.iter().any(|(name, _)| *name == named)
                || COMPOSITION.contains(&named.as_str());
            if is_module && named != module && !allowed.contains(&named.as_str()) {
                broken.push(format!("src/{}.rs imports `{named}`", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "against docs/architecture.md:\n{}", broken.join("\n"));
}

#[test]
fn driver_and_http_crates_stay_in_their_place() {
    let mut broken = Vec::new();
    for source in sources() {
        for (name, places) in CRATE_ONLY_IN {
            let named = source.code.match_indices(&format!("{name}::")).any(|(start, _)| {
                let before = source.code[..start].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if named && !places.iter().any(|place| source.path.starts_with(place)) {
                broken.push(format!("src/{}.rs names the crate `{name}`", source.path));
            }
        }
    }
    assert!(broken.is_empty(), "against docs/architecture.md:\n{}", broken.join("\n"));
}

#[test]
fn what_stands_behind_a_test_item_is_read() {
    let code = code_of(
        "use a;\n#[cfg(test)]\nmod tests;\nimpl X {\n    #[cfg(test)]\n    #[must_use]\n    \
         fn idle(&self) -> usize {\n        b;\n    }\n\n    fn c() {}\n}\n#[cfg(test)]\n\
         mod inner {\n    use d;\n}\nuse e;",
    );
    assert_eq!(code, "use a;\nimpl X {\n\n    fn c() {}\n}\nuse e;");
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let named = modules_named(
        "use crate::feed::Hub;\nuse crate::{\n    domain::{ids::ClientId, time},\n    wire,\n};\n\
         let x = crate::auth::Auth::new(); other_crate::api::y();",
    );
    let expected = ["auth", "domain", "feed", "wire"].map(String::from);
    assert_eq!(named, BTreeSet::from(expected));
}
