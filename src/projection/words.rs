//! What a text is found by: its words, without case and diacritics.
//!
//! The same code makes the words that are indexed and the words that are looked for, so both
//! always agree, and nothing that a user types reaches FTS5's query language. Each word carries
//! its tenant: a search reads no other tenant's entries, and costs by that tenant's matches.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use crate::domain::{conversation::Contact, ids::ClientId};

/// Longer words are cut to this many bytes, in the index as in a search.
const WORD_BYTES_MAX: usize = 48;
/// Words of one text that are indexed; WhatsApp's longest text has fewer.
const WORDS_MAX: usize = 2048;
/// Words of one search; further ones are left out.
const SEARCH_WORDS_MAX: usize = 8;
/// A shorter word must match whole: as the beginning of others it would match nearly all.
const PREFIX_CHARS_MIN: usize = 2;
/// The fewest digits by which a phone number is found from its middle.
const PHONE_DIGITS_MIN: usize = 3;

/// Appends the words of `text` to `out`, each with its tenant and a space behind it.
pub(super) fn index_text(out: &mut String, client: ClientId, text: &str) {
    let tenant = tenant_prefix(client);
    let mut words = 0;
    for_each_word(text, |word| {
        words += 1;
        if words <= WORDS_MAX {
            push_word(out, &tenant, word);
        }
    });
}

/// Appends what a contact is found by: the words of its names, and every ending of its number,
/// whose beginnings are then all parts of the number.
pub(super) fn index_contact(out: &mut String, client: ClientId, contact: &Contact) {
    for text in [&contact.name, &contact.username].into_iter().flatten() {
        index_text(out, client, text);
    }
    let tenant = tenant_prefix(client);
    let mut seen = "";
    for number in [&contact.phone, &contact.wa_id].into_iter().flatten() {
        let number = number.trim_start_matches('+');
        if number == seen || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        seen = number;
        for start in 0..number.len().min(WORD_BYTES_MAX).saturating_sub(PHONE_DIGITS_MIN - 1) {
            push_word(out, &tenant, &number[start..]);
        }
    }
}

/// The FTS5 queries for what a user looks for, one for contacts and one for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SearchWords {
    pub contact: String,
    pub message: String,
}

/// `None` when there is no word in `text`: nothing is found by it.
pub(super) fn search_words(client: ClientId, text: &str) -> Option<SearchWords> {
    let message = match_all(client, text)?;
    let contact = phone_digits(text).map_or_else(
        || message.clone(),
        |digits| format!("\"{}{digits}\" *", tenant_prefix(client)),
    );
    Some(SearchWords { contact, message })
}

/// All of the words, each as the beginning of one in the text.
fn match_all(client: ClientId, text: &str) -> Option<String> {
    let tenant = tenant_prefix(client);
    let mut query = String::new();
    let mut words = 0;
    for_each_word(text, |word| {
        words += 1;
        if words > SEARCH_WORDS_MAX {
            return;
        }
        if words > 1 {
            query.push_str(" AND ");
        }
        // A word is letters and digits only, so there is no quote in it to escape.
        query.push_str(&format!("\"{tenant}{word}\""));
        if word.chars().nth(PREFIX_CHARS_MIN - 1).is_some() {
            query.push_str(" *");
        }
    });
    (words > 0).then_some(query)
}

/// The digits of what looks like a phone number or a part of one, however it is grouped.
fn phone_digits(text: &str) -> Option<String> {
    let looks_like_it =
        text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '(' | ')' | '.' | ' '));
    let mut digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.truncate(WORD_BYTES_MAX);
    (looks_like_it && digits.len() >= PHONE_DIGITS_MIN).then_some(digits)
}

/// Before every word: digits and an `x`, so that no tenant's words are the beginning of another's.
fn tenant_prefix(client: ClientId) -> String {
    format!("{client}x")
}

fn push_word(out: &mut String, tenant: &str, word: &str) {
    out.push_str(tenant);
    out.push_str(word);
    out.push(' ');
}

/// Calls `each` with every run of letters and digits, lower-cased, diacritics taken off.
fn for_each_word(text: &str, mut each: impl FnMut(&str)) {
    let mut word = String::with_capacity(WORD_BYTES_MAX);
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            push_char(&mut word, c.to_ascii_lowercase());
        } else if c.is_ascii() || !(c.is_alphanumeric() || is_combining_mark(c)) {
            finish_word(&mut word, &mut each);
        } else {
            decompose_compatible(c, |part| {
                for lower in part.to_lowercase() {
                    if lower.is_alphanumeric() && !is_combining_mark(lower) {
                        push_char(&mut word, lower);
                    }
                }
            });
        }
    }
    finish_word(&mut word, &mut each);
}

fn push_char(word: &mut String, c: char) {
    if word.len() + c.len_utf8() <= WORD_BYTES_MAX {
        word.push(c);
    }
}

fn finish_word(word: &mut String, each: &mut impl FnMut(&str)) {
    if !word.is_empty() {
        each(word);
        word.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(text: &str) -> String {
        let mut out = String::new();
        index_text(&mut out, ClientId(7), text);
        out
    }

    #[test]
    fn words_have_neither_case_nor_diacritics() {
        assert_eq!(indexed("¿Mañana, CAFÉ?"), "7xmanana 7xcafe ");
        assert_eq!(indexed("cafe\u{301} o'clock\n50%"), "7xcafe 7xo 7xclock 7x50 ");
        assert_eq!(indexed("ПРИВЕТ \u{1F44B} 日本"), "7xпривет 7x日本 ");
        assert_eq!(indexed("  \u{1F44B} !"), "");
        assert_eq!(indexed(&"a".repeat(500)).len(), WORD_BYTES_MAX + 3);
    }

    #[test]
    fn what_a_user_types_is_words_and_never_syntax() {
        let words = search_words(ClientId(7), "hola OR \"x\" NEAR(* ^y:z").unwrap();
        assert_eq!(
            words.message,
            r#""7xhola" * AND "7xor" * AND "7xx" AND "7xnear" * AND "7xy" AND "7xz""#
        );
        assert_eq!(search_words(ClientId(7), "\"*()"), None);
        assert_eq!(search_words(ClientId(7), ""), None);
    }

    #[test]
    fn a_phone_number_is_found_by_any_part_however_it_is_grouped() {
        let words = search_words(ClientId(7), "+54 9 (11) 5555-0000").unwrap();
        assert_eq!(words.contact, r#""7x5491155550000" *"#);
        let contact = Contact {
            phone: Some("+549115".to_owned()),
            wa_id: Some("549115".to_owned()),
            name: Some("Ana".to_owned()),
            ..Contact::default()
        };
        let mut out = String::new();
        index_contact(&mut out, ClientId(7), &contact);
        assert_eq!(out, "7xana 7x549115 7x49115 7x9115 7x115 ");
    }
}
