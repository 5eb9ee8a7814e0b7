//! Texts with placeholders. A value is escaped for the place in which it stands.
use std::fmt::Write as _;

/// The values of the placeholders of one message.
pub(super) struct Message<'a> {
    /// The number in international form, with "+".
    pub(super) phone: &'a str,
    pub(super) text: &'a str,
    /// The same for every attempt, so that the provider can recognize a repetition.
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Phone,
    PhoneDigits,
    Text,
    Id,
    Secret,
}

const SLOTS: [(&str, Slot); 5] = [
    ("phone", Slot::Phone),
    ("phone_digits", Slot::PhoneDigits),
    ("text", Slot::Text),
    ("id", Slot::Id),
    ("secret", Slot::Secret),
];

impl Slot {
    fn value<'a>(self, message: &Message<'a>) -> &'a str {
        match self {
            Self::Phone => message.phone,
            Self::PhoneDigits => message.phone.trim_start_matches('+'),
            Self::Text => message.text,
            Self::Id => message.id,
            Self::Secret => message.secret,
        }
    }
}

/// The place of a template, which decides how values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaping {
    /// A URL, or a form: everything but letters, digits and `-._~` is percent-encoded.
    Url,
    /// The inside of a JSON string.
    Json,
    /// The value of a header, or a JSON pointer: nothing to escape in an id, a secret or a number.
    Plain,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Slot(Slot),
}

/// A parsed text with placeholders.
#[derive(Debug, Clone)]
pub(super) struct Template {
    parts: Vec<Part>,
    escaping: Escaping,
}

impl Template {
    /// Parses a text. Braces around anything but a lower-case word are literal, so JSON needs no escapes; a
    /// word that is no placeholder is an error.
    pub(super) fn parse(text: &str, escaping: Escaping) -> Result<Self, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(open) = rest.find('{') {
            let (before, from) = rest.split_at(open);
            literal.push_str(before);
            let name = from[1..].split_once('}').map(|(name, _)| name);
            let is_word = |name: &&str| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            };
            let Some(name) = name.filter(is_word) else {
                literal.push('{');
                rest = &from[1..];
                continue;
            };
            let slot = SLOTS.iter().find(|(known, _)| *known == name);
            let (_, slot) = slot.ok_or_else(|| {
                let known = SLOTS.map(|(known, _)| format!("{{{known}}}")).join(", ");
                format!("there is no placeholder {{{name}}}; there are {known}")
            })?;
            parts.push(Part::Literal(std::mem::take(&mut literal)));
            parts.push(Part::Slot(*slot));
            rest = &from[name.len() + 2..];
        }
        literal.push_str(rest);
        parts.push(Part::Literal(literal));
        Ok(Self { parts, escaping })
    }

    /// Whether a placeholder occurs.
    pub(super) fn has(&self, slot: Slot) -> bool {
        let is = |part: &Part| matches!(part, Part::Slot(own) if *own == slot);
        self.parts.iter().any(is)
    }

    /// The text before the first placeholder.
    pub(super) fn beginning(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// Fills the placeholders in. Values are not parsed again.
    pub(super) fn render(&self, message: &Message<'_>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Slot(slot) => escape(&mut out, slot.value(message), self.escaping),
            }
        }
        out
    }
}

fn escape(out: &mut String, value: &str, escaping: Escaping) {
    match escaping {
        Escaping::Plain => out.push_str(value),
        Escaping::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
        Escaping::Url => {
            for byte in value.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        out.push(char::from(byte));
                    }
                    // A String takes any text.
                    _ => _ = write!(out, "%{byte:02X}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Message<'_> = Message {
        phone: "+79161234567",
        text: "Код: 1&2=3 \"{secret}\"\\\n",
        id: "0190",
        secret: "a b/c",
    };

    fn rendered(text: &str, escaping: Escaping) -> String {
        Template::parse(text, escaping).unwrap().render(&MESSAGE)
    }

    #[test]
    fn value_is_percent_encoded_in_urls_and_forms() {
        assert_eq!(
            rendered(
                "https://a.example/s?to={phone}&m={text}&k={secret}",
                Escaping::Url
            ),
            "https://a.example/s?to=%2B79161234567&m=%D0%9A%D0%BE%D0%B4%3A%201%262%3D3%20%22%7Bsecret%7D%22%5C%0A&k=a%20b%2Fc"
        );
    }

    #[test]
    fn value_is_escaped_in_json_and_values_are_not_parsed_again() {
        let body = rendered(r#"{"to":"{phone_digits}","m":{"t":"{text}"}}"#, Escaping::Json);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["to"], "79161234567");
        assert_eq!(json["m"]["t"], MESSAGE.text);
    }

    #[test]
    fn unknown_placeholder_is_refused_and_other_braces_are_literal() {
        let error = Template::parse("to={fone}", Escaping::Url).unwrap_err();
        assert!(error.contains("there is no placeholder {fone}"), "{error}");
        assert_eq!(rendered("{ {} {A} {id} {", Escaping::Plain), "{ {} {A} 0190 {");
    }
}
