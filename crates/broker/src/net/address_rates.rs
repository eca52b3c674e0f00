//! How many connections a second may come from an address: the quota `connection_creation_rate` of `ip` entities (KIP-612).

use std::collections::HashMap;
use std::net::IpAddr;

use super::connection_rate::{Rate, Windows};

/// Addresses that are measured at once. Those beyond come in unmeasured: whoever has so many has no use for more from one.
const ADDRESSES_MAX: usize = 16_384;
/// What Kafka has for no quota.
const NO_QUOTA: u32 = i32::MAX as u32;

/// The quotas, and what came of late from the addresses that have one.
#[derive(Debug, Default)]
pub struct AddressRates {
    /// Of addresses that have none of their own.
    of_others: Option<u32>,
    own: HashMap<IpAddr, u32>,
    measured: HashMap<IpAddr, Rate>,
    swept_ms: u64,
}

impl AddressRates {
    /// Sets or takes away the quota of an address, or that of all that have none of their own.
    pub fn set(&mut self, address: Option<IpAddr>, most_per_s: Option<u32>) {
        match (address, most_per_s) {
            (None, quota) => self.of_others = quota,
            (Some(address), Some(quota)) => drop(self.own.insert(address, quota)),
            (Some(address), None) => drop(self.own.remove(&address)),
        }
    }

    /// A connection has come from `address`. Where that was too many, it does not count, and is to be closed after so many
    /// milliseconds.
    pub fn come(&mut self, windows: Windows, address: IpAddr, now_ms: u64) -> Option<u64> {
        let quota = self.own.get(&address).copied().or(self.of_others).filter(|&quota| quota != NO_QUOTA)?;
        if !self.measured.contains_key(&address) && !self.has_room(windows, now_ms) {
            return None;
        }
        let rate = self.measured.entry(address).or_default();
        rate.count(windows, now_ms);
        let delay_ms = Some(rate.delay_ms(windows, quota, now_ms)).filter(|&delay_ms| delay_ms > 0);
        if delay_ms.is_some() {
            rate.take_back(windows, now_ms);
        }
        delay_ms
    }

    /// Forgets those of which nothing came of late, where there are too many others; not for each that comes.
    fn has_room(&mut self, windows: Windows, now_ms: u64) -> bool {
        if self.measured.len() >= ADDRESSES_MAX && now_ms.saturating_sub(self.swept_ms) >= windows.length_ms() {
            self.measured.retain(|_, rate| !rate.is_over(windows, now_ms));
            self.swept_ms = now_ms;
        }
        self.measured.len() < ADDRESSES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn let_in(rates: &mut AddressRates, number: u32, now_ms: u64) -> usize {
        (0..100).take_while(|_| rates.come(Windows::new(11, 1), address(number), now_ms).is_none()).count()
    }

    #[test]
    fn each_address_has_its_own_quota_or_that_of_all() {
        let mut rates = AddressRates::default();
        assert_eq!(let_in(&mut rates, 1, 0), 100);
        rates.set(None, Some(1));
        rates.set(Some(address(2)), Some(3));
        rates.set(Some(address(3)), Some(NO_QUOTA));
        assert_eq!([1, 2, 3, 4].map(|number| let_in(&mut rates, number, 0)), [10, 30, 100, 10]);
        assert_eq!(rates.come(Windows::new(11, 1), address(4), 0), Some(1000));
        rates.set(Some(address(2)), None);
        assert_eq!(let_in(&mut rates, 2, 1), 0, "thirty came already");
        rates.set(Some(address(2)), Some(4));
        assert_eq!(let_in(&mut rates, 2, 1), 10);
        rates.set(None, None);
        assert_eq!(let_in(&mut rates, 1, 1), 100);
    }

    #[test]
    fn those_that_are_refused_do_not_count() {
        let mut rates = AddressRates::default();
        rates.set(None, Some(1));
        assert_eq!((0..20).map(|_| let_in(&mut rates, 1, 0)).sum::<usize>(), 10);
        assert_eq!(let_in(&mut rates, 1, 11_000), 10);
    }

    #[test]
    fn only_so_many_addresses_are_measured() {
        let mut rates = AddressRates::default();
        rates.set(None, Some(1));
        let most = u32::try_from(ADDRESSES_MAX).unwrap();
        for number in 0..=most {
            let_in(&mut rates, number, 5000);
        }
        assert_eq!(rates.measured.len(), ADDRESSES_MAX);
        assert_eq!((let_in(&mut rates, most, 5000), let_in(&mut rates, 0, 5000)), (100, 0));
        assert_eq!((let_in(&mut rates, most, 16_000), rates.measured.len()), (10, 1), "the others are forgotten");
    }
}
