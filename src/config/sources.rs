//! Where settings come from: a TOML file, then the environment, then flags; the later wins.
//!
//! Values keep their origin, so that an error can say where the wrong one stands, and
//! `condorito config` where the right one comes from.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value, de::DeTable, de::DeValue};

use super::{
    ConfigError, Problem, Settings,
    known::{self, Kind, Known, PREFIX},
    validate::validate,
};

/// Read when nothing else is named and it is there.
pub const DEFAULT_FILE: &str = "condorito.toml";
/// Names the file.
pub const FILE_VARIABLE: &str = "CONDORITO_CONFIG";
/// Variables with our prefix that are no settings: this file's, and those of the client commands.
const OTHER_VARIABLES: [&str; 3] = [FILE_VARIABLE, "CONDORITO_URL", "CONDORITO_TOKEN"];

/// Where to look for settings.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// Keys and values given as flags, with the flag's name.
    pub flags: Vec<(&'static str, String, String)>,
}

/// Settings that hold, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What was set, by key.
    pub values: BTreeMap<String, (Value, Origin)>,
    /// Defaults that follow from other settings.
    pub computed: Vec<(&'static str, String)>,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Sources {
    /// Reads, merges and checks everything.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        self.load_unchecked()?.checked()
    }

    /// As [`Sources::load`], without asking whether the settings make sense together: for
    /// commands that use only a few of them.
    pub fn load_unchecked(self) -> Result<Loaded, ConfigError> {
        let mut merged = Merged::default();
        let file = self.add_file(&mut merged);
        for (name, text) in &self.variables {
            merged.add_variable(name, text);
        }
        for (flag, key, text) in &self.flags {
            merged.add_text(key, text, Origin::Flag(flag));
        }
        merged.into_loaded(file)
    }

    fn add_file(&self, merged: &mut Merged) -> Option<PathBuf> {
        let from_variable = || {
            let named = self.variables.iter().find(|(name, _)| name == FILE_VARIABLE);
            named.map(|(_, path)| path).filter(|path| !path.is_empty()).map(PathBuf::from)
        };
        let named = self.file.clone().or_else(from_variable);
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        match std::fs::read_to_string(&path) {
            Ok(text) => merged.add_file(&path, &text),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return None;
            }
            Err(error) => {
                let message = format!("can't be read ({error}): name the file with --config");
                merged.problem(path.display().to_string(), message);
            }
        }
        Some(path)
    }
}

#[derive(Default)]
struct Merged {
    table: Table,
    values: BTreeMap<String, (Value, Origin)>,
    problems: Vec<Problem>,
}

impl Merged {
    fn problem(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { place: place.into(), message: message.into() });
    }

    fn add_file(&mut self, path: &Path, text: &str) {
        let (table, places) = match (text.parse::<Table>(), DeTable::parse(text)) {
            (Ok(table), Ok(places)) => (table, places),
            (Err(error), _) | (_, Err(error)) => {
                // Without the line's text, which may be a secret.
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                let place = Origin::File { path: path.to_owned(), line }.to_string();
                return self.problem(place, format!("it is not TOML: {}", error.message()));
            }
        };
        let mut lines = BTreeMap::new();
        collect_lines("", places.get_ref(), text, &mut lines);
        let origin = |key: &str| {
            let line = lines.get(key).copied().unwrap_or(1);
            Origin::File { path: path.to_owned(), line }
        };
        let mut unknown = Vec::new();
        self.add_table("", &table, &origin, &mut unknown);
        for key in unknown {
            let message = unknown_key(&key, &key, |known| known.path.clone());
            self.problem(origin(&key).to_string(), message);
        }
    }

    fn add_table(
        &mut self,
        prefix: &str,
        table: &Table,
        origin: &impl Fn(&str) -> Origin,
        unknown: &mut Vec<String>,
    ) {
        for (name, value) in table {
            let key = join(prefix, name);
            match (known::find(&key).map(|known| &known.kind), value) {
                (None, _) => unknown.push(key),
                (Some(Kind::Table), Value::Table(section)) => {
                    self.add_table(&key, section, origin, unknown);
                }
                (Some(_), _) => {
                    find_unknown_inside(&key, value, unknown);
                    self.set(&key, value.clone(), origin(&key));
                }
            }
        }
    }

    fn add_variable(&mut self, name: &str, text: &str) {
        let Some(rest) = name.strip_prefix(PREFIX) else { return };
        let is_other = OTHER_VARIABLES.contains(&name) || rest.starts_with("TEST_");
        if is_other || is_kubernetes_link(rest) {
            return;
        }
        let key = rest.to_lowercase().replace("__", ".");
        self.add_text(&key, text, Origin::Variable(name.to_owned()));
    }

    /// Adds a value given as text, which its key's kind tells how to read.
    fn add_text(&mut self, key: &str, text: &str, origin: Origin) {
        let place = origin.to_string();
        let known = known::find(key).filter(|known| known.variable().is_some());
        match known.map(|known| (parse(&known.kind, text), known)) {
            None => {
                let message = match &origin {
                    Origin::Variable(name) => {
                        unknown_key(name, key, |known| known.variable().unwrap_or_default())
                    }
                    _ => unknown_key(key, key, |known| known.path.clone()),
                };
                self.problem(place, message);
            }
            Some((Err(expected), known)) => {
                let given = if known.secret { String::new() } else { format!(", not {text:?}") };
                self.problem(place, format!("{key} must be {expected}{given}"));
            }
            Some((Ok(value), _)) => {
                let mut unknown = Vec::new();
                find_unknown_inside(key, &value, &mut unknown);
                for inner in unknown {
                    let message = unknown_key(&inner, &inner, |known| known.path.clone());
                    self.problem(place.clone(), message);
                }
                self.set(key, value, origin);
            }
        }
    }

    fn set(&mut self, key: &str, value: Value, origin: Origin) {
        let mut table = &mut self.table;
        let mut names = key.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                table.insert(name.to_owned(), value.clone());
                break;
            }
            let section = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(section) = section else { break };
            table = section;
        }
        self.values.insert(key.to_owned(), (value, origin));
    }

    fn into_loaded(mut self, file: Option<PathBuf>) -> Result<Loaded, ConfigError> {
        let table = Value::Table(std::mem::take(&mut self.table));
        let settings = match serde_path_to_error::deserialize::<_, Settings>(table) {
            Ok(settings) => settings,
            Err(error) => {
                self.wrong_value(&error);
                Settings::default()
            }
        };
        if !self.problems.is_empty() {
            return Err(ConfigError { problems: self.problems });
        }
        let mut loaded = Loaded { settings, file, values: self.values, computed: Vec::new() };
        loaded.fill_in_paths();
        Ok(loaded)
    }

    fn wrong_value(&mut self, error: &serde_path_to_error::Error<toml::de::Error>) {
        let key = error.path().to_string();
        let known = known::find(&key);
        let origin = self.values.iter().rev().find(|(set, _)| key.starts_with(set.as_str()));
        let place = origin.map_or_else(|| key.clone(), |(_, (_, origin))| origin.to_string());
        let message = match known {
            Some(known) if known.secret => format!("{key} must be {}", expected(&known.kind)),
            _ => format!("{key}: {}", error.inner().message()),
        };
        self.problem(place, message);
    }
}

impl Loaded {
    /// These settings, if they make sense together.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let problems = validate(&self);
        if problems.is_empty() { Ok(self) } else { Err(ConfigError { problems }) }
    }

    /// Whether somebody has set this key.
    pub fn is_set(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// What lies in the data folder unless it is set otherwise.
    fn fill_in_paths(&mut self) {
        if !self.is_set("data_dir") {
            self.settings.data_dir = PathBuf::from("data");
            self.computed.push(("data_dir", "data".to_owned()));
        }
        if !self.is_set("log") {
            let path = self.settings.data_dir.join("log.db");
            self.settings.log = format!("sqlite:{}", path.display());
            self.computed.push(("log", self.settings.log.clone()));
        }
        if !self.is_set("projection.path") {
            self.settings.projection.path = self.settings.data_dir.join("read-model.db");
            let path = self.settings.projection.path.display().to_string();
            self.computed.push(("projection.path", path));
        }
        if !self.is_set("media.directory") {
            self.settings.media.directory = self.settings.data_dir.join("media");
            let path = self.settings.media.directory.display().to_string();
            self.computed.push(("media.directory", path));
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn unknown_key<N: AsRef<str>>(
    shown: &str,
    key: &str,
    name: impl Fn(&'static Known) -> N,
) -> String {
    let suggestion = known::nearest(key).map(name).filter(|name| !name.as_ref().is_empty());
    let advice = match suggestion {
        Some(nearest) => format!("did you mean {}?", nearest.as_ref()),
        None => "`condorito config --reference` lists all".to_owned(),
    };
    format!("there is no setting {shown}; {advice}")
}

/// Unknown keys of tables inside a list.
fn find_unknown_inside(key: &str, value: &Value, unknown: &mut Vec<String>) {
    let Value::Array(items) = value else { return };
    for (index, item) in items.iter().enumerate() {
        let Value::Table(table) = item else { continue };
        for (name, value) in table {
            let key = format!("{key}[{index}].{name}");
            match known::find(&key) {
                Some(_) => find_unknown_inside(&key, value, unknown),
                None => unknown.push(key),
            }
        }
    }
}

/// In Kubernetes a service named `condorito` puts variables of this prefix into every container
/// of its namespace.
fn is_kubernetes_link(rest: &str) -> bool {
    rest == "SERVICE_HOST"
        || rest == "PORT"
        || rest.starts_with("SERVICE_PORT")
        || rest.strip_prefix("PORT_").is_some_and(|rest| rest.contains("_TCP"))
}

fn parse(kind: &Kind, text: &str) -> Result<Value, String> {
    let read = match kind {
        Kind::Text => Some(Value::String(text.to_owned())),
        Kind::Choice(words) => {
            words.iter().any(|word| word == text).then(|| Value::String(text.to_owned()))
        }
        Kind::Bool => text.parse().ok().map(Value::Boolean),
        Kind::Integer => text.replace('_', "").parse().ok().map(Value::Integer),
        Kind::Number => text.parse().ok().map(Value::Float),
        Kind::List(item) => return parse_list(item, text),
        Kind::Table => None,
    };
    read.ok_or_else(|| expected(kind))
}

/// `a,b,c`, or a TOML array.
fn parse_list(item: &Kind, text: &str) -> Result<Value, String> {
    let list = || expected(&Kind::List(Box::new(item.clone())));
    if text.trim_start().starts_with('[') {
        let mut table: Table = format!("list = {text}").parse().map_err(|_| list())?;
        return table.remove("list").ok_or_else(list);
    }
    if *item == Kind::Table {
        return Err(list());
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|text| parse(item, text)).collect::<Result<_, _>>().map(Value::Array)
}

fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer => "a whole number".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::List(item) if **item == Kind::Table => "a TOML array of tables".to_owned(),
        Kind::List(_) => "a list: a,b,c or a TOML array".to_owned(),
        Kind::Table => "a section".to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

fn collect_lines(
    prefix: &str,
    table: &DeTable<'_>,
    text: &str,
    lines: &mut BTreeMap<String, usize>,
) {
    for (name, value) in table {
        let key = join(prefix, name.get_ref());
        lines.insert(key.clone(), line_of(text, name.span().start));
        match value.get_ref() {
            DeValue::Table(section) => collect_lines(&key, section, text, lines),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let DeValue::Table(table) = item.get_ref() {
                        collect_lines(&format!("{key}[{index}]"), table, text, lines);
                    }
                }
            }
            _ => {}
        }
    }
}
