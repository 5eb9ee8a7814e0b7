//! Names that people read: of people, units, organizations, chats, calls, rooms and service accounts.
//!
//! A name with an invisible character looks equal to another one or like none, and a bidirectional control
//! character shows the letters in another order than they are stored.

/// The kind of the character before, for the sequences that make one picture of several.
#[derive(PartialEq, Eq)]
enum Before {
    Pictograph,
    Selector,
    Joiner,
    Other,
}

/// Whether a text has only characters that a reader can see, and spaces. The selector and the joiner of
/// emoji are accepted where they belong to a picture.
pub fn is_visible(text: &str) -> bool {
    let mut before = Before::Other;
    for c in text.chars() {
        before = match c {
            '\u{fe0f}' if before == Before::Pictograph => Before::Selector,
            '\u{200d}' if matches!(before, Before::Pictograph | Before::Selector) => Before::Joiner,
            hidden if is_hidden(hidden) => return false,
            '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}' => Before::Pictograph,
            _ if before == Before::Joiner => return false,
            _ => Before::Other,
        };
    }
    before != Before::Joiner
}

/// Whether a character has no glyph or changes the order of others: controls, format characters, those that
/// Unicode lists as Default_Ignorable_Code_Point, blank letters, private use and noncharacters.
fn is_hidden(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || matches!(code,
            0x00ad                      // soft hyphen
            | 0x034f                    // combining grapheme joiner
            | 0x061c                    // Arabic letter mark
            | 0x115f..=0x1160           // Hangul fillers
            | 0x17b4..=0x17b5           // Khmer inherent vowels
            | 0x180b..=0x180f           // Mongolian selectors
            | 0x200b..=0x200f           // zero width, marks of direction
            | 0x2028..=0x202e           // line separators, embeddings and overrides of direction
            | 0x2060..=0x206f           // word joiner, isolates of direction
            | 0x2800                    // blank Braille pattern
            | 0x3164                    // Hangul filler
            | 0xe000..=0xf8ff           // private use
            | 0xfdd0..=0xfdef           // noncharacters
            | 0xfe00..=0xfe0f           // variation selectors
            | 0xfeff                    // byte order mark
            | 0xffa0                    // halfwidth Hangul filler
            | 0xfff0..=0xfffc           // interlinear annotation, object replacement
            | 0x1bca0..=0x1bca3         // shorthand format controls
            | 0x1d159                   // null note head
            | 0x1d173..=0x1d17a         // musical format controls
            | 0xe0000..=0x0010_ffff     // tags, selectors and private use
        )
        || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_scripts_are_visible() {
        for name in [
            "Анна-Мария д’Артуа",
            "Ёлкина Й.",
            "Łucja Müller",
            "Наргиза Ғафурова",
            "Նարե Սարգսյան",
            "ნინო",
            "王小明",
            "محمد",
            "5 «А»",
            "Кружок № 3 ★",
            "Поход ⛺\u{fe0f}",
            "Семья 👨\u{200d}👩\u{200d}👧",
        ] {
            assert!(is_visible(name), "{name}");
        }
    }

    #[test]
    fn hidden_characters_are_found_anywhere() {
        for hidden in [
            '\u{0}',
            '\u{ad}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200e}',
            '\u{202e}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{ffff}',
            '\u{e0041}',
        ] {
            assert!(!is_visible(&format!("6{hidden}А")), "{hidden:?}");
        }
        for text in ["6А\u{200d}", "⛺\u{200d}", "⛺\u{200d}А", "⛺\u{fe0f}\u{fe0f}"] {
            assert!(!is_visible(text), "{text:?}");
        }
    }
}
