//! The meaning of a response of a gateway.
use serde_json::Value;

use super::template::{Message, Template};
use crate::delivery::failure::Failure;

/// The rules by which the result of a request is read from a response.
#[derive(Debug, Clone, Default)]
pub(super) struct Results {
    /// JSON pointers. The first that exists in the body counts.
    pub(super) fields: Vec<Template>,
    pub(super) accepted: Vec<String>,
    pub(super) temporary: Vec<String>,
}

/// The result of a body in which none of the fields exists.
pub(super) const NONE: &str = "none";

impl Results {
    /// Decides by status and body. Without fields, only the status decides.
    pub(super) fn read(&self, status: u16, body: &[u8], message: &Message<'_>) -> Result<(), Failure> {
        let json = serde_json::from_slice::<Value>(body).ok();
        let result = json.as_ref().map(|json| self.find(json, message));
        let by_status = || format!("http_{status}");
        let code = match result.as_deref() {
            Some(result) if result != NONE => code(result),
            _ => by_status(),
        };
        if result.is_some_and(|result| self.temporary.contains(&result)) {
            return Err(Failure::Temporary(code));
        }
        match status {
            408 | 425 | 429 | 500..=599 => return Err(Failure::Temporary(code)),
            200..=299 => {}
            _ => return Err(Failure::Permanent(code)),
        }
        if self.fields.is_empty() {
            return Ok(());
        }
        // A proxy or a page for maintenance responds with something other than JSON.
        let Some(json) = json else {
            return Err(Failure::Temporary("not_json".to_owned()));
        };
        let result = self.find(&json, message);
        if self.accepted.contains(&result) {
            Ok(())
        } else if result == NONE {
            Err(Failure::Permanent(NONE.to_owned()))
        } else {
            Err(Failure::Permanent(code))
        }
    }

    fn find(&self, json: &Value, message: &Message<'_>) -> String {
        let mut fields = self.fields.iter();
        let found = fields.find_map(|field| json.pointer(&field.render(message)));
        match found {
            None => NONE.to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }
    }
}

/// A result that may be logged. The provider chooses the text, so that it could repeat the message: only
/// short words pass, without anything as long as a code or a number.
fn code(result: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let digits = result.split(|c: char| !c.is_ascii_digit());
    let fits = result.len() <= 32 && result.chars().all(is_word) && digits.map(str::len).all(|len| len < 6);
    if fits && !result.is_empty() {
        result.to_owned()
    } else {
        "unprintable".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::template::Escaping, *};

    const MESSAGE: Message<'_> = Message {
        phone: "+79161234567",
        text: "Код: 123456",
        id: "0190",
        secret: "",
    };

    fn results(fields: &[&str], accepted: &[&str], temporary: &[&str]) -> Results {
        let field = |text: &&str| Template::parse(text, Escaping::Plain).unwrap();
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Results {
            fields: fields.iter().map(field).collect(),
            accepted: texts(accepted),
            temporary: texts(temporary),
        }
    }

    fn temporary(code: &str) -> Result<(), Failure> {
        Err(Failure::Temporary(code.to_owned()))
    }

    fn permanent(code: &str) -> Result<(), Failure> {
        Err(Failure::Permanent(code.to_owned()))
    }

    #[test]
    fn status_decides_without_fields() {
        let results = Results::default();
        let read = |status| results.read(status, b"<html>", &MESSAGE);
        assert_eq!(read(200), Ok(()));
        assert_eq!(read(202), Ok(()));
        for status in [408, 429, 500, 502, 503] {
            assert_eq!(read(status), temporary(&format!("http_{status}")));
        }
        for status in [301, 400, 401, 402, 403, 404, 422] {
            assert_eq!(read(status), permanent(&format!("http_{status}")));
        }
    }

    // The responses of SMS.RU: the account's errors at the top, those of a number below the number.
    #[test]
    fn result_of_the_number_counts_before_the_result_of_the_request() {
        let fields = ["/sms/{phone_digits}/status_code", "/status_code"];
        let results = results(&fields, &["100"], &["220"]);
        let read = |body: &str| results.read(200, body.as_bytes(), &MESSAGE);
        let of_number =
            |code| format!(r#"{{"status_code":100,"sms":{{"79161234567":{{"status_code":{code}}}}}}}"#);
        assert_eq!(read(&of_number(100)), Ok(()));
        assert_eq!(read(&of_number(207)), permanent("207"));
        assert_eq!(read(&of_number(220)), temporary("220"));
        assert_eq!(read(r#"{"status":"ERROR","status_code":200}"#), permanent("200"));
        assert_eq!(read("<html>maintenance</html>"), temporary("not_json"));
        assert_eq!(read("{}"), permanent("none"));
    }

    // The responses of SMSC: an error is a field that a success does not have.
    #[test]
    fn absent_field_can_be_the_success() {
        let results = results(&["/error_code"], &["none"], &["9"]);
        let read = |body: &str| results.read(200, body.as_bytes(), &MESSAGE);
        assert_eq!(read(r#"{"id":1,"cnt":1}"#), Ok(()));
        assert_eq!(read(r#"{"error":"wrong login","error_code":2}"#), permanent("2"));
        assert_eq!(
            read(r#"{"error":"too many concurrent requests","error_code":9}"#),
            temporary("9")
        );
        assert_eq!(read("OK"), temporary("not_json"));
    }

    #[test]
    fn code_never_repeats_the_message() {
        for result in ["+79161234567", "to-79161234567", "123456", "Код: 123456", ""] {
            assert_eq!(code(result), "unprintable", "{result}");
        }
        assert_eq!(code("INVALID_NUMBER"), "INVALID_NUMBER");
        assert_eq!(code("21211"), "21211");
    }
}
