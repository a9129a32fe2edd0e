//! Pages as one file: text, tables and plots, no script, nothing from elsewhere.

use super::escape;

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
    h1{font-size:1.6em}h2{margin-top:2em;border-bottom:1px solid #ccc}\
    table{border-collapse:collapse;font-size:12px;margin:1em 0;display:block;overflow-x:auto}\
    td,th{border:1px solid #ccc;padding:2px 6px;text-align:left;white-space:nowrap}th{background:#f3f3f3}\
    .plots{display:flex;flex-wrap:wrap;gap:12px}.plots svg{width:480px;max-width:100%;height:auto;border:1px solid #eee}\
    .note{color:#555}";

/// A page while it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    body: String,
}

impl Page {
    /// A heading of a section.
    pub(crate) fn section(&mut self, title: &str) {
        self.body.push_str(&format!("<h2>{}</h2>\n", escape(title)));
    }

    /// A paragraph.
    pub(crate) fn text(&mut self, text: &str) {
        self.body.push_str(&format!("<p class=\"note\">{}</p>\n", escape(text)));
    }

    /// A table, its titles first.
    pub(crate) fn table(&mut self, lines: &[Vec<String>]) {
        self.body.push_str("<table>\n");
        for (number, line) in lines.iter().enumerate() {
            let kind = if number == 0 { "th" } else { "td" };
            let cells: String =
                line.iter().map(|cell| format!("<{kind}>{}</{kind}>", escape(cell))).collect();
            self.body.push_str(&format!("<tr>{cells}</tr>\n"));
        }
        self.body.push_str("</table>\n");
    }

    /// Plots side by side, each an SVG of this program's.
    pub(crate) fn plots(&mut self, plots: &[String]) {
        self.body.push_str(&format!("<div class=\"plots\">\n{}\n</div>\n", plots.join("\n")));
    }

    /// The page.
    #[must_use]
    pub(crate) fn finish(self, title: &str) -> String {
        let title = escape(title);
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{}</body></html>\n",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_a_file_is_text_and_nothing_is_fetched() {
        let mut page = Page::default();
        page.section("<script>");
        page.table(&[vec!["<b>".to_owned()]]);
        let html = page.finish("a & b");
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;") && html.contains("a &amp; b"));
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src=\""));
    }
}
