//! Calls of loggers: which one, at which level, and what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::program::{ClassId, Program, TYPES, members};
use super::text::{Piece, Scope, Style, template};
use super::tree::Term;
use super::{CONSTANTS_MIN, Statement};
use crate::mine::text::constants;

/// Methods of loggers, with their levels.
const LEVELS: [(&str, &str); 6] = [
    ("trace", "TRACE"),
    ("debug", "DEBUG"),
    ("info", "INFO"),
    ("warn", "WARN"),
    ("error", "ERROR"),
    ("fatal", "FATAL"),
];
/// Types of loggers, of slf4j and of what Hadoop had before it.
const LOGGERS: [&str; 4] = ["Logger", "Log", "org.slf4j.Logger", "org.apache.commons.logging.Log"];
/// Names of loggers that are set to other loggers, one after the other.
const ALIASES_MAX: usize = 4;

/// A method that logs one of its parameters: what it says is known where it is called.
struct Forwarder {
    class: ClassId,
    parameter: usize,
    level: &'static str,
    logger: String,
}

/// All statements of a version, the number of calls, and of those that have too little that is constant.
pub(super) fn statements(program: &Program<'_>) -> (BTreeSet<Statement>, usize, usize) {
    let mut found = BTreeSet::new();
    let (mut calls, mut vague) = (0, 0);
    let mut forwarders: BTreeMap<&str, Vec<Forwarder>> = BTreeMap::new();
    let level_of = |name: &str| LEVELS.iter().find(|(method, _)| *method == name).map(|(_, level)| *level);
    for (scope, call) in invocations(program, |name| level_of(name).is_some()) {
        let Some(level) = level_of(call.part_text("name")) else { continue };
        let Some(logger) = call.part("object").and_then(|object| logger(&scope, object, 0)) else { continue };
        let arguments = arguments(call);
        let Some(message) = arguments.first() else { continue };
        calls += 1;
        let is_parameter = message.kind() == "identifier" && scope.member.kind() == "method_declaration";
        if let Some(parameter) = is_parameter.then(|| scope.parameter(message.text())).flatten() {
            let forwarder = Forwarder { class: scope.class, parameter, level, logger };
            forwarders.entry(scope.member.part_text("name")).or_default().push(forwarder);
            continue;
        }
        vague += usize::from(!say(&scope, &arguments, level, &logger, &mut found));
    }
    for (scope, call) in invocations(program, |name| forwarders.contains_key(name)) {
        let of_name = forwarders.get(call.part_text("name")).into_iter().flatten();
        let reached = program.reached(scope.class);
        for forwarder in of_name.filter(|forwarder| reached.contains(&forwarder.class)) {
            let arguments = arguments(call);
            let Some(given) = arguments.get(forwarder.parameter..) else { continue };
            say(&scope, given, forwarder.level, &forwarder.logger, &mut found);
        }
    }
    (found, calls, vague)
}

/// Every call of a method whose name is wanted, with where it stands.
fn invocations<'p, 'a>(
    program: &'p Program<'a>,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<(Rc<Scope<'p, 'a>>, Term<'a>)> {
    let mut found = Vec::new();
    for (id, class) in program.classes.iter().enumerate() {
        for member in members(class.declaration).into_iter().filter(|member| !TYPES.contains(&member.kind()))
        {
            let is_call =
                |term: &Term<'_>| term.kind() == "method_invocation" && is_wanted(term.part_text("name"));
            let mut calls = member.all().into_iter().filter(is_call).peekable();
            // Most members have none, and are not looked through for their variables.
            if calls.peek().is_some() {
                let scope = Rc::new(Scope::new(program, id, member));
                found.extend(calls.map(|call| (Rc::clone(&scope), call)));
            }
        }
    }
    found
}

fn arguments(call: Term<'_>) -> Vec<Term<'_>> {
    let is_marker = |term: &Term<'_>| term.text().to_uppercase().ends_with("MARKER");
    call.part("arguments").into_iter().flat_map(Term::parts).skip_while(is_marker).collect()
}

/// Adds what a call says; whether that is anything.
fn say<'a>(
    scope: &Scope<'_, 'a>,
    arguments: &[Term<'a>],
    level: &'static str,
    logger: &str,
    found: &mut BTreeSet<Statement>,
) -> bool {
    let [message, rest @ ..] = arguments else { return false };
    let mut texts = scope.texts(*message, 0);
    let has_places =
        texts.iter().flatten().any(|piece| matches!(piece, Piece::Text(text) if text.contains("{}")));
    if has_places {
        texts = scope.filled(*message, rest, Style::Braces, 0);
    }
    let mut said = false;
    for pieces in texts {
        let text = template(&pieces);
        if constants(&text) >= CONSTANTS_MIN {
            said = true;
            found.insert(Statement { text, level, logger: logger.to_owned() });
        }
    }
    said
}

/// Name of the logger that an expression is; empty where it is one whose name is not known.
fn logger(scope: &Scope<'_, '_>, term: Term<'_>, aliases: usize) -> Option<String> {
    if aliases > ALIASES_MAX {
        return Some(String::new());
    }
    let name = term.text().rsplit(['.', '(']).next().unwrap_or_default();
    let looks_like = || ["log", "logger"].contains(&name.to_lowercase().as_str());
    let (variable, owner) = match term.kind() {
        "identifier" => match scope.variable(term.text(), term.start()) {
            Some(known) => known,
            None => return looks_like().then(String::new),
        },
        "field_access" => {
            let object = term.part("object")?;
            let class = match object.kind() {
                "this" | "super" => Some(scope.class),
                _ => scope.program.class(object.text(), scope.class),
            };
            let Some(class) = class else { return looks_like().then(String::new) };
            let (field, owner) = scope.program.field(term.part_text("field"), class)?;
            (field, Some(owner))
        }
        "method_invocation" => {
            return term.part_text("name").to_lowercase().contains("log").then(String::new);
        }
        _ => return None,
    };
    if !LOGGERS.contains(&variable.kind) {
        return None;
    }
    let Some(value) = variable.value else { return Some(String::new()) };
    let scope = Scope::new(scope.program, owner.unwrap_or(scope.class), value);
    if value.kind() != "method_invocation" {
        return logger(&scope, value, aliases + 1).or(Some(String::new()));
    }
    let Some(named) = arguments(value).into_iter().next() else { return Some(String::new()) };
    if named.kind() == "class_literal" {
        return Some(scope.class_name(named, false));
    }
    let texts = scope.texts(named, 0);
    let whole = texts.first().filter(|pieces| pieces.iter().all(|piece| matches!(piece, Piece::Text(_))));
    Some(whole.map_or_else(String::new, |pieces| template(pieces)))
}
