//! A bounded cache of rows, with what a batch changed held back until it is written.
//!
//! **Invariant:** what is changed and not written yet is never dropped; only clean entries are.

use std::{collections::HashMap, hash::Hash};

/// An entry that the batch changed.
pub(super) struct Changed<K, V> {
    pub key: K,
    /// As it is in the file; `None` for a new one.
    pub stored: Option<V>,
    pub now: V,
}

pub(super) struct WriteBack<K, V> {
    clean: quick_cache::unsync::Cache<K, V>,
    changed: Vec<Changed<K, V>>,
    changed_at: HashMap<K, usize>,
}

impl<K: Eq + Hash + Copy, V: Clone> WriteBack<K, V> {
    /// Keeps about `clean_max` entries beside those that are changed.
    pub fn new(clean_max: usize) -> Self {
        Self {
            clean: quick_cache::unsync::Cache::new(clean_max),
            changed: Vec::new(),
            changed_at: HashMap::new(),
        }
    }

    pub fn get(&self, key: K) -> Option<&V> {
        match self.changed_at.get(&key) {
            Some(&at) => Some(&self.changed[at].now),
            None => self.clean.get(&key),
        }
    }

    /// The entry as the batch changed it, `None` when the batch has not touched it.
    pub fn changed(&self, key: K) -> Option<&V> {
        self.changed_at.get(&key).map(|&at| &self.changed[at].now)
    }

    /// Keeps an entry as it was read from the file. It may be dropped at once.
    pub fn loaded(&mut self, key: K, value: V) {
        self.clean.insert(key, value);
    }

    /// The entry to be changed; `stored` is what [`get`](Self::get) or the file gave.
    pub fn change(&mut self, key: K, stored: V) -> &mut V {
        let at = match self.changed_at.get(&key) {
            Some(&at) => at,
            None => {
                let now = stored.clone();
                self.push(Changed { key, stored: Some(stored), now })
            }
        };
        &mut self.changed[at].now
    }

    /// Adds an entry that the file does not have.
    pub fn add(&mut self, key: K, now: V) {
        self.push(Changed { key, stored: None, now });
    }

    fn push(&mut self, changed: Changed<K, V>) -> usize {
        let at = self.changed.len();
        self.changed_at.insert(changed.key, at);
        self.changed.push(changed);
        at
    }

    /// What is to be written, in the order in which it was first changed.
    pub fn to_write(&self) -> &[Changed<K, V>] {
        &self.changed
    }

    /// After it was written: what was changed is clean now.
    pub fn written(&mut self) {
        self.changed_at.clear();
        for entry in self.changed.drain(..) {
            self.clean.insert(entry.key, entry.now);
        }
    }

    /// Drops clean entries that don't satisfy `keep`.
    pub fn retain_clean(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.clean.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_stays_however_much_is_read() {
        let mut cache = WriteBack::new(4);
        cache.add(1, "new");
        cache.loaded(2, "old");
        *cache.change(2, "old") = "changed";
        *cache.change(2, "changed") = "changed again";
        for key in 10..1000 {
            cache.loaded(key, "read");
        }
        assert_eq!((cache.get(1), cache.get(2)), (Some(&"new"), Some(&"changed again")));
        let to_write: Vec<_> =
            cache.to_write().iter().map(|entry| (entry.key, entry.stored, entry.now)).collect();
        assert_eq!(to_write, [(1, None, "new"), (2, Some("old"), "changed again")]);
        cache.written();
        assert!(cache.to_write().is_empty());
    }
}
