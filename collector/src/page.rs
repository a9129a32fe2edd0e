//! The web page: files of `page/`, embedded. It has no build step, loads nothing from elsewhere, and writes everything
//! that came from a log as text. What is in `page/uplot` is of others and as they published it.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::serve::App;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, content type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("../page/index.html")),
    ("/style.css", CSS, include_str!("../page/style.css")),
    ("/views.css", CSS, include_str!("../page/views.css")),
    ("/icon.svg", SVG, include_str!("../page/icon.svg")),
    ("/api.js", JS, include_str!("../page/api.js")),
    ("/app.js", JS, include_str!("../page/app.js")),
    ("/browse.js", JS, include_str!("../page/browse.js")),
    ("/chart.js", JS, include_str!("../page/chart.js")),
    ("/incident.js", JS, include_str!("../page/incident.js")),
    ("/incidents.js", JS, include_str!("../page/incidents.js")),
    ("/lanes.js", JS, include_str!("../page/lanes.js")),
    ("/login.js", JS, include_str!("../page/login.js")),
    ("/marks.js", JS, include_str!("../page/marks.js")),
    ("/models.js", JS, include_str!("../page/models.js")),
    ("/nodes.js", JS, include_str!("../page/nodes.js")),
    ("/overview.js", JS, include_str!("../page/overview.js")),
    ("/range.js", JS, include_str!("../page/range.js")),
    ("/session.js", JS, include_str!("../page/session.js")),
    ("/sessions.js", JS, include_str!("../page/sessions.js")),
    ("/templates.js", JS, include_str!("../page/templates.js")),
    ("/text.js", JS, include_str!("../page/text.js")),
    ("/uplot/uPlot.esm.js", JS, include_str!("../page/uplot/uPlot.esm.js")),
    ("/uplot/uPlot.min.css", CSS, include_str!("../page/uplot/uPlot.min.css")),
];

/// One route per file.
pub(crate) fn routes() -> Router<App> {
    let mut router = Router::new();
    for &(path, content_type, content) in FILES {
        let tag = format!("\"{}\"", blake3::hash(content.as_bytes()).to_hex());
        // A new version of the collector shows at the next load; what a browser has of this one is not sent again.
        let file = move |headers: HeaderMap| async move {
            let known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
            let about = [(CACHE_CONTROL, "no-cache".to_owned()), (ETAG, tag)];
            if known {
                (StatusCode::NOT_MODIFIED, about).into_response()
            } else {
                (about, [(CONTENT_TYPE, content_type)], content).into_response()
            }
        };
        router = router.route(path, get(file));
    }
    router
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_loaded_from_elsewhere_or_inline() {
        for (path, _, content) in FILES {
            // Comments of others say where an idea is from.
            let is_comment = |line: &str| line.trim_start().starts_with("//") || line.starts_with('*');
            let skipped = |line: &&str| path.starts_with("/uplot/") && is_comment(line);
            let code: Vec<&str> = content.lines().filter(|line| !skipped(line)).collect();
            let allowed = code.join("\n").replace("http://www.w3.org/2000/svg", "");
            assert!(!allowed.contains("http:") && !allowed.contains("https:"), "{path} names another origin");
            assert!(!content.contains("url("), "{path} loads a resource");
        }
        let html = FILES[0].2;
        for inline in ["<style", " style=", " onclick", " onload", "javascript:", "<script>"] {
            assert!(!html.contains(inline), "index.html has {inline}");
        }
    }

    #[test]
    fn the_scripts_write_text_and_never_markup() {
        for (path, content_type, content) in FILES {
            if *content_type != JS {
                continue;
            }
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "createContextualFragment",
                "DOMParser",
                "srcdoc",
                "setAttribute(\"on",
                ".href =",
                ".src =",
                "setAttribute(\"style",
            ] {
                assert!(!content.contains(sink), "{path} uses {sink}");
            }
        }
    }
}
