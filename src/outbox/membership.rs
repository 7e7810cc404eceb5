//! Who of the live instances sends for a tenant.
//!
//! Rendezvous hashing: every instance gives each tenant a weight by hash, and the highest of the
//! live ones sends. So rates are kept in one place, and when an instance comes or goes only its
//! own tenants move.
//!
//! **Invariant:** this is for rates and order, not for safety: two instances that believe to be
//! the one race for each claim, and one wins.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::ids::ClientId;

/// An instance, by the id that it drew at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub Uuid);

/// Which instances live.
pub trait Membership: Send + Sync + 'static {
    /// This instance.
    fn me(&self) -> InstanceId;

    /// All that live as far as is known, this one among them; changes as they come and go.
    fn live(&self) -> watch::Receiver<Arc<[InstanceId]>>;

    /// Whether there can be no other: then a claim from before the start is nobody's any more.
    fn alone(&self) -> bool;
}

/// The one instance over an embedded store, which nobody else can open.
pub struct SingleInstance {
    me: InstanceId,
    live: watch::Sender<Arc<[InstanceId]>>,
}

impl SingleInstance {
    pub fn new(me: InstanceId) -> Self {
        Self { me, live: watch::Sender::new(Arc::from([me])) }
    }
}

impl Membership for SingleInstance {
    fn me(&self) -> InstanceId {
        self.me
    }

    fn live(&self) -> watch::Receiver<Arc<[InstanceId]>> {
        self.live.subscribe()
    }

    fn alone(&self) -> bool {
        true
    }
}

/// Tells whether this instance is the one that sends for a tenant, as things stand when asked.
pub fn owns(membership: &dyn Membership) -> impl Fn(ClientId) -> bool + Send + Sync + use<> {
    let (me, live) = (membership.me(), membership.live());
    move |client| sender_of(&live.borrow(), client) == Some(me)
}

/// Who sends for the tenant; `None` when nobody lives.
pub fn sender_of(live: &[InstanceId], client: ClientId) -> Option<InstanceId> {
    live.iter().copied().max_by_key(|instance| (weight(*instance, client), *instance))
}

fn weight(instance: InstanceId, client: ClientId) -> u64 {
    let digest = Sha256::new()
        .chain_update(instance.0.as_bytes())
        .chain_update(client.0.to_be_bytes())
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(count: u128) -> Vec<InstanceId> {
        (1..=count).map(|number| InstanceId(Uuid::from_u128(number))).collect()
    }

    #[test]
    fn each_tenant_has_one_sender_and_all_share_the_work() {
        let live = instances(4);
        let mut tenants = [0; 4];
        for client in 0..1000 {
            let sender = sender_of(&live, ClientId(client)).expect("somebody lives");
            let mut turned = live.clone();
            turned.reverse();
            assert_eq!(sender_of(&turned, ClientId(client)), Some(sender));
            tenants[live.iter().position(|one| *one == sender).expect("one of them")] += 1;
        }
        assert!(tenants.iter().all(|count| (150..350).contains(count)), "{tenants:?}");
        assert_eq!(sender_of(&[], ClientId(1)), None);
    }

    #[test]
    fn only_the_tenants_of_who_leaves_move() {
        let live = instances(5);
        for client in (0..200).map(ClientId) {
            let before = sender_of(&live, client);
            for gone in &live {
                let rest: Vec<_> = live.iter().copied().filter(|one| one != gone).collect();
                let now = sender_of(&rest, client);
                assert!(before == Some(*gone) || now == before);
            }
        }
    }

    #[test]
    fn the_single_instance_sends_for_all() {
        let me = InstanceId(Uuid::from_u128(7));
        let single = SingleInstance::new(me);
        assert!(single.alone());
        assert_eq!(sender_of(&single.live().borrow(), ClientId(3)), Some(single.me()));
        assert!(owns(&single)(ClientId(3)));
    }
}
