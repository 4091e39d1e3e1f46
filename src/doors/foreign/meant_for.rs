//! Tells which door a body was meant for that came to another.

use crate::doors::foreign::json;
use crate::doors::refusal::Refusal;

/// A format, the keys of which one shows it, and where it is posted to.
struct Format {
    name: &'static str,
    keys: &'static [&'static str],
    path: &'static str,
}

const FARO: Format = Format {
    name: "Grafana Faro's Web SDK",
    keys: &["meta", "measurements", "exceptions"],
    path: "/collect",
};
const NATIVE: Format = Format {
    name: "tillwatch's own format",
    keys: &["batches", "samples", "histograms", "queue", "seq", "v"],
    path: "/v1/batches",
};
const OTLP: Format = Format {
    name: "OpenTelemetry's exporters (OTLP/HTTP)",
    keys: &["resourceMetrics"],
    path: "/v1/metrics",
};
const LEGACY: Format = Format {
    name: "the legacy report",
    keys: &["metrics"],
    path: "/pdc_pos_offline/metrics",
};

/// The path of the door that a body in JSON is for, by its keys: those that say most come first.
pub fn path_of(text: &str) -> Option<&'static str> {
    let mut keys = Vec::new();
    let walked = json::body(text, |key, _| {
        keys.push(key.to_owned());
        Ok(())
    });
    walked.ok()?;
    let mut formats = [&OTLP, &NATIVE, &FARO, &LEGACY].into_iter();
    let found = formats.find(|format| keys.iter().any(|key| format.keys.contains(&&**key)));
    found.map(|format| format.path)
}

/// Says which door a body in JSON was meant for, if it was not meant for the one at `path` and shows it.
pub fn meant_for_another(text: &str, path: &'static str) -> Option<Refusal> {
    let mut shown = None;
    let walked = json::body(text, |key, _| {
        let format = [&FARO, &NATIVE, &OTLP, &LEGACY]
            .into_iter()
            .find(|format| format.keys.contains(&key));
        // What shows this door's own format is no stranger's.
        if shown.is_none_or(|shown: &Format| shown.path != path) {
            shown = format.or(shown);
        }
        Ok(())
    });
    walked.ok()?;
    let shown = shown.filter(|shown| shown.path != path)?;
    let Format { name, path, .. } = shown;
    Some(Refusal::Malformed(format!(
        "this is a payload of {name}, which is posted to {path}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_shows_its_format_by_keys_that_no_other_has() {
        let said = |text, path| meant_for_another(text, path).map(|refusal| refusal.to_string());
        let faro = r#"{"meta":{},"events":[]}"#;
        let native = r#"{"v":1,"store_id":"s","events":[]}"#;
        assert!(said(faro, "/v1/batches").unwrap().ends_with("/collect"));
        assert!(said(native, "/collect").unwrap().ends_with("/v1/batches"));
        let otlp = said(r#"{"resourceMetrics":[]}"#, "/collect");
        assert!(otlp.unwrap().ends_with("/v1/metrics"));
        let legacy = said(r#"{"sessionId":"1","metrics":{}}"#, "/v1/batches");
        assert!(legacy.unwrap().ends_with("/pdc_pos_offline/metrics"));
        for (text, path) in [
            (faro, "/collect"),
            (native, "/v1/batches"),
            (r#"{"meta":{},"v":1}"#, "/collect"),
            (r#"{"v":1,"meta":{}}"#, "/collect"),
            (r#"{"v":1,"meta":{}}"#, "/v1/batches"),
            ("{}", "/collect"),
            ("{\"meta\":", "/v1/batches"),
        ] {
            assert_eq!(said(text, path), None, "{text} at {path}");
        }
    }
}
