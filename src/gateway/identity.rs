//! Reading an id of a person: a phone number, a business-scoped user id, or something else.
//!
//! Providers put one where the other was expected, so the form decides and not the field.

use crate::domain::conversation::Contact;

/// E.164 has at most 15 digits; fewer than 6 are no subscriber's number.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 6..=15;
/// Longer than any id that is documented (a parent BSUID: 2 + 4 + 256 and dots).
const MAX_ID_BYTES: usize = 300;

/// What an id turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id<'a> {
    /// Digits of an international phone number, without `+`.
    Phone(&'a str),
    /// `CC.` and up to 256 letters and digits.
    User(&'a str),
    /// `CC.ENT.` and so on.
    ParentUser(&'a str),
    /// None of them, kept as it is.
    Other(&'a str),
}

/// `None` when it is empty or absurdly long.
pub(super) fn classify(id: &str) -> Option<Id<'_>> {
    let id = id.trim();
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return None;
    }
    let digits = id.strip_prefix('+').unwrap_or(id);
    if PHONE_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Id::Phone(digits));
    }
    if let Some((country, rest)) = id.split_once('.')
        && country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
    {
        let (parent, code) = match rest.strip_prefix("ENT.") {
            Some(code) => (true, code),
            None => (false, rest),
        };
        if !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Some(if parent { Id::ParentUser(id) } else { Id::User(id) });
        }
    }
    Some(Id::Other(id))
}

/// Adds an id to what is known of a contact. What is known already stays.
pub(super) fn add(contact: &mut Contact, id: Option<&str>) {
    match id.and_then(classify) {
        Some(Id::Phone(digits)) => {
            contact.wa_id.get_or_insert_with(|| digits.to_owned());
            contact.phone.get_or_insert_with(|| format!("+{digits}"));
        }
        Some(Id::User(id)) => _ = contact.user_id.get_or_insert_with(|| id.to_owned()),
        Some(Id::ParentUser(id)) => {
            _ = contact.parent_user_id.get_or_insert_with(|| id.to_owned());
        }
        Some(Id::Other(id)) => _ = contact.wa_id.get_or_insert_with(|| id.to_owned()),
        None => {}
    }
}

/// Whether anything tells who it is; a name alone doesn't.
pub(super) fn is_known(contact: &Contact) -> bool {
    contact.phone.is_some()
        || contact.wa_id.is_some()
        || contact.user_id.is_some()
        || contact.parent_user_id.is_some()
        || contact.lid.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_decides_what_an_id_is() {
        assert_eq!(classify("573001234567"), Some(Id::Phone("573001234567")));
        assert_eq!(classify("+573001234567"), Some(Id::Phone("573001234567")));
        assert_eq!(classify("US.13491208655302741918"), Some(Id::User("US.13491208655302741918")));
        assert_eq!(classify("US.ENT.118"), Some(Id::ParentUser("US.ENT.118")));
        assert_eq!(classify("usa.118"), Some(Id::Other("usa.118")));
        assert_eq!(classify("12345678901234567"), Some(Id::Other("12345678901234567")));
        assert_eq!(classify(" "), None);
    }

    #[test]
    fn what_is_known_first_stays() {
        let mut contact = Contact::default();
        add(&mut contact, Some("573001234567"));
        add(&mut contact, Some("573009999999"));
        add(&mut contact, Some("CO.9"));
        assert_eq!(contact.phone.as_deref(), Some("+573001234567"));
        assert_eq!(contact.user_id.as_deref(), Some("CO.9"));
        assert!(is_known(&contact));
        assert!(!is_known(&Contact { name: Some("Ana".to_owned()), ..Contact::default() }));
    }
}
