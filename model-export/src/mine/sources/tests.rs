//! Statements of small classes, and what becomes of jars.

use super::*;

/// Texts with level and logger, of classes in files of one version.
fn said(files: &[&str]) -> Vec<(String, &'static str, String)> {
    let sources: Vec<Source> = files.iter().map(|file| Source::parse((*file).to_owned()).unwrap()).collect();
    let (statements, ..) = calls::statements(&Program::new(&sources));
    statements.into_iter().map(|Statement { text, level, logger }| (text, level, logger)).collect()
}

fn class(body: &str) -> String {
    format!(
        "package a.b;\npublic class Node {{ static final Logger LOG = LoggerFactory.getLogger(Node.class);\n{body}\n}}"
    )
}

fn texts(body: &str) -> Vec<String> {
    said(&[&class(body)]).into_iter().map(|(text, ..)| text).collect()
}

#[test]
fn sums_and_places_are_typed_by_their_declarations() {
    let found = texts(
        r#"void f(ExtendedBlock block, long elapsedMs, File file) {
            LOG.info("Deleted " + block + " file " + file);
            LOG.warn("Slow write of {} took {}ms, {} bytes", block, elapsedMs, block.getNumBytes());
        }"#,
    );
    assert_eq!(found, ["Deleted <blk> file <path>", "Slow write of <blk> took <duration_ms>ms, <*> bytes",]);
}

#[test]
fn both_branches_of_a_condition_are_texts() {
    let found =
        texts(r#"void f(boolean done) { LOG.info("volume " + (done ? "added" : "lost") + " now"); }"#);
    assert_eq!(found, ["volume added now", "volume lost now"]);
}

#[test]
fn constants_formats_and_variables_are_looked_into() {
    let found = texts(
        r#"static final String TRACE = "src: %s, bytes: %d, rate: %.2f of 100%%";
        void f(String from, long bytes, double rate) {
            LOG.info(String.format(TRACE, from, bytes, rate));
            String message = "cannot reach " + from;
            if (bytes > 0) message += " at all";
            LOG.error(message, new IOException());
        }"#,
    );
    assert_eq!(found, ["cannot reach <*>", "src: <*>, bytes: <bytes>, rate: <*> of 100%"]);
}

#[test]
fn fields_are_looked_into_only_where_nothing_else_is_ever_in_them() {
    let found = texts(
        r#"String pool = ""; final String name; final String kind = "writer";
        Node(int port) { StringBuilder b = new StringBuilder(getClass().getSimpleName()).append(" on "); b.append(port); this.name = b.toString(); }
        String shown() { int at = 3; return "shown at " + at; }
        void f() { LOG.info("Formatting pool " + pool); LOG.info(name + ": done"); LOG.info(kind + " ended"); LOG.info(shown());
            StringBuilder b = new StringBuilder(150); b.append("room made"); LOG.info(b.toString()); }"#,
    );
    assert_eq!(
        found,
        ["Formatting pool <*>", "Node on <n>: done", "room made", "shown at <n>", "writer ended"]
    );
}

#[test]
fn a_text_that_is_put_together_keeps_what_is_always_there() {
    let found = texts(
        r#"void f(boolean ok, String to) {
            StringBuilder sb = BUILDERS.get();
            sb.setLength(0);
            sb.append("allowed=").append(ok).append("\t");
            if (to != null) { sb.append("to=").append(to); }
            sb.append("proto=").append("rpc");
            say(sb.toString());
        }
        void say(String text) { LOG.info(text); }"#,
    );
    assert_eq!(found, ["allowed=<*>\t<*>proto=rpc"]);
}

#[test]
fn loggers_are_named_through_other_classes() {
    let owner = r#"package a; public class Owner {
        public static final Logger changes = LoggerFactory.getLogger("Changes");
        static final Log trace = LogFactory.getLog(Owner.class.getName() + ".trace");
        static class Inner { static final Log IN = LogFactory.getLog(Inner.class);
            void f() { IN.debug("inside it"); } }
        void f() { trace.info("traced it"); }
    }"#;
    let user = r#"package b; import a.Owner; public class User extends Owner {
        private static final Logger own = Owner.changes;
        void f() { own.warn("changed it"); trace.info("from below"); Owner.changes.info("from afar"); notALog.info("not this"); }
    }"#;
    let found = said(&[user, owner]);
    let shown: Vec<(&str, &str, &str)> =
        found.iter().map(|(text, level, logger)| (text.as_str(), *level, logger.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("changed it", "WARN", "Changes"),
            ("from afar", "INFO", "Changes"),
            ("from below", "INFO", "a.Owner.trace"),
            ("inside it", "DEBUG", "a.Owner$Inner"),
            ("traced it", "INFO", "a.Owner.trace"),
        ]
    );
}

#[test]
fn what_is_on_further_lines_is_left_out() {
    let found = texts(
        r#"static class Replica { public String toString() { return "x\n y"; } }
        void f(Replica replica) { LOG.info("Recovering " + replica + " of it"); LOG.info("first\nsecond"); }"#,
    );
    assert_eq!(found, ["Recovering <*>", "first"]);
}

#[test]
fn too_little_that_is_constant_is_counted_and_left_out() {
    let file = class(
        r#"void f(String a) { LOG.info(a + ": " + a); LOG.info("why " + a); LOG.info("because " + a); }"#,
    );
    let sources = [Source::parse(file).unwrap()];
    let (found, calls, vague) = calls::statements(&Program::new(&sources));
    assert_eq!((found.len(), calls, vague), (1, 3, 2));
}

#[test]
fn equal_texts_of_several_versions_are_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut jars = Vec::new();
    for (version, extra) in [("2.10.2", "LOG.info(\"only in this one\");"), ("3.4.1", "")] {
        let path = folder.path().join(format!("hadoop-hdfs-{version}-sources.jar"));
        let mut jar = zip::ZipWriter::new(File::create(&path).unwrap());
        jar.start_file("a/b/Node.java", zip::write::SimpleFileOptions::default()).unwrap();
        let body = format!("void f() {{ LOG.warn(\"in both of them\"); {extra} }}");
        std::io::Write::write_all(&mut jar, class(&body).as_bytes()).unwrap();
        jar.finish().unwrap();
        jars.push(path);
    }
    jars.reverse();
    let found = read(&jars).unwrap();
    let rows: Vec<(&str, &str, &str)> =
        found.rows.iter().map(|row| (row.text.as_str(), row.level.as_str(), row.versions.as_str())).collect();
    assert_eq!(rows, [("in both of them", "WARN", "2.10.2 3.4.1"), ("only in this one", "INFO", "2.10.2")]);
    for json in [false, true] {
        let path = folder.path().join(if json { "catalogue.json" } else { "catalogue.csv" });
        std::fs::write(&path, found.encode(json).unwrap()).unwrap();
        let templates: Vec<Template> = found.rows.iter().map(Row::template).collect();
        assert_eq!(crate::catalogue::read(Some(&path)).unwrap(), templates);
    }
}

#[test]
fn a_file_that_is_no_jar_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hadoop-hdfs-3.4.1-sources.jar");
    std::fs::write(&path, b"no jar").unwrap();
    let error = format!("{:#}", read(&[path]).unwrap_err());
    assert!(error.contains("hadoop-hdfs-3.4.1-sources.jar` is no jar"), "{error}");
    let error = format!("{:#}", read(&[folder.path().join("sources.jar")]).unwrap_err());
    assert!(error.contains("no version in its name"), "{error}");
}
