//! From the names under which a contact is known to keyed hashes that are no personal data.
//!
//! The key is the store's: without it a hash can't be tried against a list of phone numbers. The
//! tenant is part of what is hashed, so the same person has different hashes at two tenants.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use smallvec::SmallVec;

use crate::domain::{
    contact::identities,
    conversation::Contact,
    ids::{ClientId, IdentityHash},
};

/// A contact's identities; mostly a number, or a number and a user id.
pub(super) type Identities = SmallVec<[IdentityHash; 2]>;

/// Makes keyed hashes. Each use has its own domain, so that no hash of one kind is one of another.
#[derive(Clone)]
pub(super) struct Hasher {
    keyed: Hmac<Sha256>,
}

impl Hasher {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // The key has the length of the hash's block half: HMAC takes it as it is.
        Self { keyed: Hmac::new(&pad(key)) }
    }

    /// The hashes of all names of this contact, kind by kind.
    pub(super) fn identities(&self, client: ClientId, contact: &Contact) -> Identities {
        let names = identities(contact);
        names.iter().map(|name| IdentityHash(self.hash(b"identity", client, name))).collect()
    }

    /// The hash under which the answer to an idempotency key is kept.
    pub(super) fn request_key(&self, client: ClientId, key: &str) -> String {
        hex::encode(self.hash(b"request", client, key))
    }

    /// What tells one stored thing from another in memory.
    pub(super) fn recent_key(&self, client: ClientId, kind: &[u8], key: &str) -> [u8; 16] {
        self.hash(kind, client, key)
    }

    fn hash(&self, domain: &[u8], client: ClientId, text: &str) -> [u8; 16] {
        let mut mac = self.keyed.clone();
        mac.update(domain);
        mac.update(&[0]);
        mac.update(&client.0.to_be_bytes());
        mac.update(text.as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        short
    }
}

/// HMAC's own padding of a short key with zeros, spelled out because the type wants a full block.
fn pad(key: &[u8; 32]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block[..key.len()].copy_from_slice(key);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(contact: &Contact) -> Identities {
        Hasher::new(&[7; 32]).identities(ClientId(1), contact)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_number_is_one_identity_whichever_field_has_it() {
        let phone = Contact { phone: text("+34600000001"), ..Contact::default() };
        let wa_id = Contact { wa_id: text("34600000001"), ..Contact::default() };
        assert_eq!(of(&phone), of(&wa_id));
        assert_eq!(of(&phone).len(), 1);
    }

    #[test]
    fn kinds_tenants_and_stores_do_not_meet() {
        let lid = Contact { lid: text("34600000001"), ..Contact::default() };
        let phone = Contact { phone: text("+34600000001"), ..Contact::default() };
        assert_ne!(of(&lid), of(&phone));
        let hasher = Hasher::new(&[7; 32]);
        assert_ne!(hasher.identities(ClientId(2), &phone), of(&phone));
        assert_ne!(Hasher::new(&[8; 32]).identities(ClientId(1), &phone), of(&phone));
        assert_ne!(
            hasher.recent_key(ClientId(1), b"message", "a"),
            hasher.recent_key(ClientId(1), b"read", "a")
        );
    }

    #[test]
    fn it_is_hmac_sha256_of_domain_tenant_and_name() {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&[7; 32]).expect("any length");
        mac.update(b"identity\0\0\0\0\x01number:34600000001");
        let phone = Contact { phone: text("+34600000001"), ..Contact::default() };
        assert_eq!(of(&phone)[0].0, mac.finalize().into_bytes()[..16]);
    }
}
