//! What a token allows.

use std::fmt;

/// What a token allows. One bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(pub u16);

impl Scopes {
    pub const NONE: Scopes = Scopes(0);
    pub const EVENTS_READ: Scopes = Scopes(1);
    pub const MESSAGES_READ: Scopes = Scopes(1 << 1);
    pub const MESSAGES_WRITE: Scopes = Scopes(1 << 2);
    pub const BULK_WRITE: Scopes = Scopes(1 << 3);
    pub const BOT_WRITE: Scopes = Scopes(1 << 4);
    pub const INGEST_WRITE: Scopes = Scopes(1 << 5);
    pub const TENANT_WRITE: Scopes = Scopes(1 << 6);
    /// May name another tenant with `X-Client-Id`, and holds all other scopes.
    pub const ADMIN: Scopes = Scopes(1 << 7);

    /// Every scope by its name in a token's `scope` claim.
    pub const NAMES: [(&'static str, Scopes); 8] = [
        ("events:read", Self::EVENTS_READ),
        ("messages:read", Self::MESSAGES_READ),
        ("messages:write", Self::MESSAGES_WRITE),
        ("bulk:write", Self::BULK_WRITE),
        ("bot:write", Self::BOT_WRITE),
        ("ingest:write", Self::INGEST_WRITE),
        ("tenant:write", Self::TENANT_WRITE),
        ("admin", Self::ADMIN),
    ];

    /// Reads a `scope` claim: names separated by spaces. Unknown ones are ignored: the issuer may
    /// serve other applications too.
    pub fn parse(claim: &str) -> Self {
        claim.split_ascii_whitespace().filter_map(Self::named).fold(Self::NONE, Self::with)
    }

    /// The scope of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, scope)| *scope)
    }

    pub fn with(self, other: Scopes) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `needed` is allowed.
    pub fn allows(self, needed: Scopes) -> bool {
        self.0 & Self::ADMIN.0 != 0 || self.0 & needed.0 == needed.0
    }

    /// The name of the first scope of `needed` that is not allowed.
    pub fn first_missing(self, needed: Scopes) -> Option<&'static str> {
        Self::NAMES
            .iter()
            .find(|(_, scope)| needed.0 & scope.0 != 0 && !self.allows(*scope))
            .map(|(name, _)| *name)
    }
}

impl fmt::Display for Scopes {
    /// As in a `scope` claim.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, scope) in Self::NAMES {
            if self.0 & scope.0 != 0 {
                write!(f, "{separator}{name}")?;
                separator = " ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_claim_and_ignores_what_is_unknown() {
        let scopes = Scopes::parse("messages:read  profile events:read EVENTS:WRITE");
        assert_eq!(scopes, Scopes::EVENTS_READ.with(Scopes::MESSAGES_READ));
        assert_eq!(scopes.to_string(), "events:read messages:read");
        assert_eq!(Scopes::parse(""), Scopes::NONE);
        for (name, scope) in Scopes::NAMES {
            assert_eq!(Scopes::parse(name), scope);
        }
    }

    #[test]
    fn admin_holds_all_others_and_nobody_else_holds_admin() {
        for (_, scope) in Scopes::NAMES {
            assert!(Scopes::ADMIN.allows(scope));
            assert_eq!(Scopes::ADMIN.first_missing(scope), None);
        }
        let all_but_admin = Scopes(Scopes::ADMIN.0 - 1);
        assert!(!all_but_admin.allows(Scopes::ADMIN));
        assert_eq!(all_but_admin.first_missing(Scopes::ADMIN), Some("admin"));
        let needed = Scopes::EVENTS_READ.with(Scopes::MESSAGES_WRITE);
        assert_eq!(Scopes::EVENTS_READ.first_missing(needed), Some("messages:write"));
    }
}
