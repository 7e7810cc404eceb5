//! Who may connect: counts connections in all and per address.
//!
//! **Invariant:** what is admitted is counted until its [`Admitted`] is dropped, once.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

use super::ListenerSettings;
use crate::auth::client_address::limit_key;

/// Why a connection is turned away. As text: the `reason` label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All connections are taken.
    Total,
    /// This address has all that one may have.
    Address,
    /// The process has no file descriptor left.
    Descriptors,
}

impl Refusal {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Refusal::Total => "total",
            Refusal::Address => "address",
            Refusal::Descriptors => "descriptors",
        }
    }
}

#[derive(Debug)]
pub(super) struct Admission {
    connections_max: usize,
    per_address_max: usize,
    unlimited: Vec<IpAddr>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    /// Only addresses with a limit and at least one connection: bounded by `total`.
    by_address: HashMap<IpAddr, usize>,
}

/// A place taken. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Admitted {
    counts: Arc<Mutex<Counts>>,
    limited_address: Option<IpAddr>,
}

impl Admission {
    pub(super) fn new(settings: &ListenerSettings) -> Self {
        Self {
            connections_max: settings.connections_max,
            per_address_max: settings.connections_per_address_max,
            unlimited: settings.unlimited_addresses.clone(),
            counts: Arc::default(),
        }
    }

    pub(super) fn admit(&self, address: IpAddr) -> Result<Admitted, Refusal> {
        let address = address.to_canonical();
        let limited_address = (!self.unlimited.contains(&address)).then(|| limit_key(address));
        let mut counts = self.counts.lock();
        if counts.total >= self.connections_max {
            return Err(Refusal::Total);
        }
        if let Some(address) = limited_address {
            let count = counts.by_address.entry(address).or_default();
            if *count >= self.per_address_max {
                return Err(Refusal::Address);
            }
            *count += 1;
        }
        counts.total += 1;
        Ok(Admitted { counts: self.counts.clone(), limited_address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.total -= 1;
        if let Some(address) = self.limited_address
            && let Some(count) = counts.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_max: usize, connections_per_address_max: usize) -> Admission {
        Admission::new(&ListenerSettings {
            connections_max,
            connections_per_address_max,
            ..ListenerSettings::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_its_own_limit_and_places_are_given_back() {
        let admission = admission(10, 2);
        let first = admission.admit(address("192.0.2.1")).expect("a place");
        let _second = admission.admit(address("::ffff:192.0.2.1")).expect("a place");
        let refusal = admission.admit(address("192.0.2.1")).expect_err("its limit");
        assert_eq!(refusal, Refusal::Address);
        let _other = admission.admit(address("192.0.2.2")).expect("another's place");
        drop(first);
        admission.admit(address("192.0.2.1")).expect("the place given back");
    }

    #[test]
    fn a_network_of_one_customer_counts_as_one_address() {
        let admission = admission(10, 1);
        let _first = admission.admit(address("2001:db8::1")).expect("a place");
        assert!(admission.admit(address("2001:db8::ffff")).is_err());
        admission.admit(address("2001:db8:0:1::1")).expect("the next network");
    }

    #[test]
    fn the_limit_in_all_holds_for_unlimited_addresses_too_and_nothing_is_left_behind() {
        let admission = admission(3, 1);
        let places: Vec<_> =
            (0..3).map(|_| admission.admit(address("127.0.0.1")).expect("a place")).collect();
        assert_eq!(admission.admit(address("127.0.0.1")).expect_err("full"), Refusal::Total);
        drop(places);
        drop(admission.admit(address("192.0.2.1")).expect("a place"));
        let counts = admission.counts.lock();
        assert_eq!((counts.total, counts.by_address.len()), (0, 0));
    }
}
