use std::error::Error;

/// Returns the text of an error and of its causes, `outer: inner: innermost`, for one line of a log or of the
/// command line. A cause whose text is already part of the line is left out: the errors of databases and
/// transports contain the text of their source, so that anyhow's `{:#}` prints it twice.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Failure(&'static str, Option<Box<Failure>>);

    impl fmt::Display for Failure {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failure {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|inner| inner as _)
        }
    }

    fn failure(texts: &[&'static str]) -> Failure {
        let (first, rest) = texts.split_first().unwrap();
        let source = (!rest.is_empty()).then(|| Box::new(failure(rest)));
        Failure(first, source)
    }

    #[test]
    fn each_cause_is_printed_once() {
        for (texts, expected) in [
            (&["a"][..], "a"),
            (&["schema of chat", "no reply"], "schema of chat: no reply"),
            // The form of sea-orm, sqlx and PostgreSQL.
            (
                &[
                    "schema of chat",
                    "Execution Error: error returned from database: role \"a\" does not exist",
                    "error returned from database: role \"a\" does not exist",
                    "role \"a\" does not exist",
                ],
                "schema of chat: Execution Error: error returned from database: role \"a\" does not exist",
            ),
            // A cause below one that is left out.
            (
                &["transport: broken pipe", "broken pipe", "os error 32"],
                "transport: broken pipe: os error 32",
            ),
        ] {
            assert_eq!(error_chain(&failure(texts)), expected);
        }
    }
}
