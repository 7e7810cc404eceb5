//! Who a contact is: reading phone numbers, and the names under which a person is known again.
//!
//! `api` reads numbers that people type with [`parse_phone`]; `command` hashes [`identities`] and
//! looks the hashes up in the directory, so that two providers, or one provider on two days, come
//! to the same conversation.

use std::collections::BTreeSet;

use super::conversation::Contact;

/// The longest name of a contact or an account, in characters. Gateways cut longer ones.
pub const NAME_CHARS_MAX: usize = 256;
/// Fewer digits are nobody's international number.
pub const PHONE_DIGITS_MIN: usize = 7;
/// E.164 has no longer ones.
pub const PHONE_DIGITS_MAX: usize = 15;

/// Why a text is no phone number. None of the texts repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    #[error("a phone number is missing")]
    Empty,
    #[error(
        "a phone number has digits, and spaces, dots, dashes, slashes or brackets between them"
    )]
    NotANumber,
    #[error("a phone number begins with its country code, as in +34 600 000 000")]
    NoCountryCode,
    #[error("an international phone number has at least {PHONE_DIGITS_MIN} digits")]
    TooShort,
    #[error("an international phone number has at most {PHONE_DIGITS_MAX} digits")]
    TooLong,
}

/// Reads an international phone number as people write it, and returns it in E.164: `+` and
/// digits. The `+` may be missing or be written `00`, since CRMs keep numbers in all three ways.
pub fn parse_phone(text: &str) -> Result<String, PhoneError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(PhoneError::Empty);
    }
    let (after_plus, with_plus) = match text.strip_prefix('+') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let mut digits = String::with_capacity(PHONE_DIGITS_MAX + 1);
    digits.push('+');
    for character in after_plus.chars() {
        match character {
            '0'..='9' if digits.len() > PHONE_DIGITS_MAX + 2 => return Err(PhoneError::TooLong),
            '0'..='9' => digits.push(character),
            ' ' | '\u{a0}' | '\u{202f}' | '.' | '-' | '\u{2010}'..='\u{2013}' | '/' | '(' | ')' => {
            }
            _ => return Err(PhoneError::NotANumber),
        }
    }
    if !with_plus && digits.starts_with("+00") {
        digits.replace_range(1..3, "");
    }
    match digits.len() - 1 {
        0 => Err(PhoneError::NotANumber),
        _ if digits.starts_with("+0") => Err(PhoneError::NoCountryCode),
        length if length < PHONE_DIGITS_MIN => Err(PhoneError::TooShort),
        length if length > PHONE_DIGITS_MAX => Err(PhoneError::TooLong),
        _ => Ok(digits),
    }
}

/// The digits of an international number, `None` when the text is none.
fn number_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let possible = (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits.len());
    if all_digits && possible { Some(digits) } else { None }
}

/// The names under which this contact is known again, each with its kind, without repetition and
/// in a fixed order. Two contacts that share one are the same person. For hashing only: a number
/// in here may lack digits that are needed to call it.
///
/// The phone number and the WhatsApp id are one name, since the id is the number's digits in all
/// but a few countries, for which see [`canonical_number`]. One that is no number is a
/// business-scoped user id, which providers put there too.
pub fn identities(contact: &Contact) -> Vec<String> {
    let numbers =
        [&contact.phone, &contact.wa_id].into_iter().flatten().map(|id| match number_digits(id) {
            Some(digits) => format!("number:{}", canonical_number(digits)),
            None => format!("user:{id}"),
        });
    let users = [&contact.user_id, &contact.parent_user_id].into_iter().flatten();
    let users = users.map(|id| format!("user:{id}"));
    let lids = contact.lid.iter().map(|id| format!("lid:{id}"));
    let names: BTreeSet<String> = numbers.chain(users).chain(lids).collect();
    names.into_iter().collect()
}

/// The number of a phone in E.164 as [`identities`] tells it: two phones that have the same are
/// one contact's. `None` for what is no such number.
pub fn phone_key(phone: &str) -> Option<u64> {
    // 15 digits at most.
    canonical_number(number_digits(phone)?).parse().ok()
}

/// One spelling of a number for which WhatsApp ids and dialled numbers differ:
/// - Mexico: ids of old accounts have a 1 after the country code (`521…`), numbers have none.
/// - Argentina: mobile ids have a 9 after the country code (`549…`) that numbers often lack.
/// - Brazil: ids of old accounts lack the ninth digit that numbers got. It was put before numbers
///   that begin with 6 to 9 only; behind another digit it belongs to the number.
fn canonical_number(digits: &str) -> String {
    let without = |at: usize| format!("{}{}", &digits[..at], &digits[at + 1..]);
    match (digits.len(), digits.as_bytes()) {
        (13, [b'5', b'2', b'1', ..]) | (13, [b'5', b'4', b'9', ..]) => without(2),
        (13, [b'5', b'5', _, _, b'9', b'6'..=b'9', ..]) => without(4),
        _ => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for text in ["+34 600 000 001", "0034-600-000-001", "34600000001", " (34) 600.000/001 "] {
            assert_eq!(parse_phone(text).as_deref(), Ok("+34600000001"), "{text}");
        }
    }

    #[test]
    fn what_is_no_international_number_is_told_why() {
        for (text, why) in [
            ("", PhoneError::Empty),
            ("  ", PhoneError::Empty),
            ("+", PhoneError::NotANumber),
            ("ana", PhoneError::NotANumber),
            ("+34 600 000 00x", PhoneError::NotANumber),
            ("++34600000001", PhoneError::NotANumber),
            ("34600000001+", PhoneError::NotANumber),
            ("0600000001", PhoneError::NoCountryCode),
            ("+0034600000001", PhoneError::NoCountryCode),
            ("+34600", PhoneError::TooShort),
            ("+1234567890123456", PhoneError::TooLong),
            ("+12345678901234567890123456789012345", PhoneError::TooLong),
            ("٣٤٦٠٠٠٠٠٠٠١", PhoneError::NotANumber),
        ] {
            assert_eq!(parse_phone(text), Err(why), "{text}");
        }
        assert_eq!(parse_phone("+123456789012345").as_deref(), Ok("+123456789012345"));
        assert_eq!(parse_phone("00123456789012345").as_deref(), Ok("+123456789012345"));
    }

    fn known_by(phone: Option<&str>, wa_id: Option<&str>) -> Contact {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Contact { phone: owned(phone), wa_id: owned(wa_id), ..Contact::default() }
    }

    #[test]
    fn a_number_and_its_whatsapp_id_are_one_name() {
        for (phone, wa_id, name) in [
            ("+34600000001", "34600000001", "number:34600000001"),
            ("+525512345678", "5215512345678", "number:525512345678"),
            ("+541123456789", "5491123456789", "number:541123456789"),
            ("+5511987654321", "551187654321", "number:551187654321"),
        ] {
            assert_eq!(identities(&known_by(Some(phone), None)), [name]);
            assert_eq!(identities(&known_by(None, Some(wa_id))), [name]);
            assert_eq!(identities(&known_by(Some(phone), Some(wa_id))), [name]);
        }
    }

    #[test]
    fn two_spellings_of_a_number_have_one_key() {
        assert_eq!(phone_key("+5215512345678"), phone_key("+525512345678"));
        assert_ne!(phone_key("+34600000001"), phone_key("+34600000002"));
        assert_eq!(phone_key("ana"), None);
    }

    #[test]
    fn a_brazilian_number_that_always_had_nine_digits_keeps_them() {
        let mobile = identities(&known_by(Some("+5511943214321"), None));
        let land_line = identities(&known_by(Some("+551143214321"), None));
        assert_ne!(mobile, land_line);
    }

    #[test]
    fn every_kind_of_id_is_a_name_of_its_own() {
        let contact = Contact {
            phone: Some("+34600000001".to_owned()),
            wa_id: Some("US.13491208655302741918".to_owned()),
            user_id: Some("US.13491208655302741918".to_owned()),
            parent_user_id: Some("US.ENT.11815799212886844830".to_owned()),
            lid: Some("34600000001".to_owned()),
            name: Some("Ana".to_owned()),
            username: Some("ana".to_owned()),
        };
        assert_eq!(
            identities(&contact),
            [
                "lid:34600000001",
                "number:34600000001",
                "user:US.13491208655302741918",
                "user:US.ENT.11815799212886844830",
            ]
        );
        assert_eq!(identities(&Contact::default()), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(number) = parse_phone(&text) {
                prop_assert!(number_digits(&number).is_some());
                prop_assert_eq!(parse_phone(&number), Ok(number.clone()));
            }
        }

        #[test]
        fn any_contact_has_its_names(phone in ".{0,16}", wa_id in "[0-9]{1,16}") {
            let names = identities(&known_by(Some(&phone), Some(&wa_id)));
            prop_assert!((1..=2).contains(&names.len()));
        }
    }
}
