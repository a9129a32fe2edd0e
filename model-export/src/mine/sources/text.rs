//! What an expression says when it is logged: its constants, and wildcards for what is known at run time alone.

use std::collections::BTreeMap;

use super::program::{ClassId, Program, Variable, members, variables};
use super::tree::Term;
use crate::mine::text;

/// Texts that one expression can have; further ones are left out.
const ALTERNATIVES_MAX: usize = 8;
/// Constants, variables and methods that are looked into, one within the other.
const DEPTH_MAX: usize = 6;
/// Classes that a text is put together in.
const BUILDERS: [&str; 2] = ["StringBuilder", "StringBuffer"];

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// A wildcard, as templates write it.
    Hole(&'static str),
    /// What follows is on further lines.
    End,
}

/// One of the texts of an expression.
pub(super) type Pieces = Vec<Piece>;

const ANY: Piece = Piece::Hole(text::ANY);

/// Where an expression stands: a member of a class, with its variables.
pub(super) struct Scope<'p, 'a> {
    pub(super) program: &'p Program<'a>,
    pub(super) class: ClassId,
    pub(super) member: Term<'a>,
    /// By name, with the places of their declarations.
    variables: BTreeMap<&'a str, Vec<(usize, Variable<'a>)>>,
}

impl<'p, 'a> Scope<'p, 'a> {
    /// That of a class's member.
    pub(super) fn new(program: &'p Program<'a>, class: ClassId, member: Term<'a>) -> Self {
        let mut found: BTreeMap<&str, Vec<(usize, Variable<'_>)>> = BTreeMap::new();
        for term in member.all() {
            let declared = match term.kind() {
                "local_variable_declaration" => variables(term),
                "formal_parameter" | "enhanced_for_statement" | "resource" => {
                    vec![(term.part_text("name"), given(term.part_text("type")))]
                }
                "catch_formal_parameter" => {
                    vec![(term.part_text("name"), given("Exception"))]
                }
                _ => continue,
            };
            for (name, variable) in declared {
                found.entry(name).or_default().push((term.start(), variable));
            }
        }
        Self { program, class, member, variables: found }
    }

    /// Position of a parameter of the member.
    pub(super) fn parameter(&self, name: &str) -> Option<usize> {
        let parameters = self.member.part("parameters")?;
        parameters.parts().position(|part| part.part_text("name") == name)
    }

    /// The variable that the name stands for at a place, or the field, with the class that has it.
    pub(super) fn variable(&self, name: &str, at: usize) -> Option<(Variable<'a>, Option<ClassId>)> {
        let declared = self.variables.get(name).into_iter().flatten();
        if let Some((_, variable)) = declared.rev().find(|(start, _)| *start <= at) {
            return Some((*variable, None));
        }
        self.program.field(name, self.class).map(|(field, owner)| (field, Some(owner)))
    }

    /// All texts that an expression can have.
    pub(super) fn texts(&self, term: Term<'a>, depth: usize) -> Vec<Pieces> {
        if depth > DEPTH_MAX {
            return vec![vec![ANY]];
        }
        match term.kind() {
            "string_literal" => vec![vec![Piece::Text(unescaped(term.text().trim_matches('"')))]],
            "character_literal" => vec![vec![Piece::Text(unescaped(term.text().trim_matches('\'')))]],
            "parenthesized_expression" | "cast_expression" => {
                term.parts().last().map_or_else(Vec::new, |inner| self.texts(inner, depth))
            }
            "ternary_expression" => {
                let branches = ["consequence", "alternative"].into_iter().filter_map(|name| term.part(name));
                bounded(branches.flat_map(|branch| self.texts(branch, depth)))
            }
            "binary_expression" if self.is_text(term, depth) => {
                let sides = ["left", "right"].into_iter().filter_map(|name| term.part(name));
                joined(sides.map(|side| self.texts(side, depth)))
            }
            "identifier" | "field_access" => self.named(term, depth),
            "method_invocation" => self.called(term, depth),
            "null_literal" => Vec::new(),
            _ => vec![self.hole(term, depth)],
        }
    }

    /// Whether a sum is one of texts.
    fn is_text(&self, term: Term<'a>, depth: usize) -> bool {
        match term.kind() {
            "string_literal" => true,
            "binary_expression" => {
                term.has_token("+")
                    && ["left", "right"]
                        .into_iter()
                        .filter_map(|name| term.part(name))
                        .any(|side| self.is_text(side, depth))
            }
            "parenthesized_expression" => term.parts().any(|inner| self.is_text(inner, depth)),
            _ => self.kind(term, depth).is_some_and(|kind| kind == "String"),
        }
    }

    /// A constant or variable.
    fn named(&self, term: Term<'a>, depth: usize) -> Vec<Pieces> {
        let name = term.text();
        let known = match term.kind() {
            "identifier" => self.variable(name, term.start()),
            _ => self.accessed(term),
        };
        let Some((variable, owner)) = known else { return vec![self.hole(term, depth)] };
        if BUILDERS.contains(&variable.kind) && owner.is_none() {
            return vec![self.built(name, term, depth)];
        }
        if variable.kind != "String" {
            return vec![self.hole(term, depth)];
        }
        let mut values: Vec<Pieces> = Vec::new();
        if let Some(owner) = owner {
            return self
                .constant(name, variable, owner, depth)
                .unwrap_or_else(|| vec![self.hole(term, depth)]);
        }
        values.extend(variable.value.into_iter().flat_map(|value| self.texts(value, depth + 1)));
        let (mut grows, mut set) = (false, variable.value.is_some());
        for change in self.member.all() {
            if change.kind() != "assignment_expression" || change.part_text("left") != name {
                continue;
            }
            let Some(right) = change.part("right") else { continue };
            if change.has_token("+=") {
                grows = true;
            } else {
                set = true;
                values.extend(self.texts(right, depth + 1));
            }
        }
        if !set {
            return vec![self.hole(term, depth)];
        }
        if grows {
            values.iter_mut().for_each(|pieces| pieces.push(ANY));
        }
        non_empty(bounded(values.into_iter()))
    }

    /// What a field is set to, where it is declared or in constructors, if it is never set again.
    fn constant(&self, name: &str, field: Variable<'a>, owner: ClassId, depth: usize) -> Option<Vec<Pieces>> {
        if !field.is_final {
            return None;
        }
        if let Some(value) = field.value {
            return Some(non_empty(Scope::new(self.program, owner, value).texts(value, depth + 1)));
        }
        let class = self.program.classes.get(owner)?;
        let name = name.rsplit('.').next().unwrap_or(name);
        let is_set = |change: &Term<'a>| {
            change.kind() == "assignment_expression"
                && change.part_text("left").trim_start_matches("this.") == name
        };
        let mut texts = Vec::new();
        for member in
            members(class.declaration).into_iter().filter(|it| it.kind() == "constructor_declaration")
        {
            let scope = Scope::new(self.program, owner, member);
            let set = member.all().into_iter().filter(is_set).filter_map(|change| change.part("right"));
            texts.extend(set.flat_map(|value| scope.texts(value, depth + 1)));
        }
        (!texts.is_empty()).then(|| bounded(texts.into_iter()))
    }

    /// The field that `a.b` stands for.
    fn accessed(&self, term: Term<'a>) -> Option<(Variable<'a>, Option<ClassId>)> {
        let (object, name) = (term.part("object")?, term.part_text("field"));
        if ["this", "super"].contains(&object.kind()) {
            return self.program.field(name, self.class).map(|(field, owner)| (field, Some(owner)));
        }
        let class = self.program.class(object.text(), self.class)?;
        self.program.field(name, class).map(|(field, owner)| (field, Some(owner)))
    }

    /// What a method gives.
    fn called(&self, term: Term<'a>, depth: usize) -> Vec<Pieces> {
        let name = term.part_text("name");
        let object = term.part("object");
        let arguments: Vec<Term<'a>> = term.part("arguments").into_iter().flat_map(Term::parts).collect();
        match (name, object, arguments.as_slice()) {
            ("getName" | "getSimpleName", Some(object), []) if object.kind() == "class_literal" => {
                vec![vec![Piece::Text(self.class_name(object, name == "getSimpleName"))]]
            }
            ("getSimpleName", Some(object), []) if object.text() == "getClass()" => {
                vec![vec![
                    self.program.last_name(self.class).map_or(ANY, |name| Piece::Text(name.to_owned())),
                ]]
            }
            ("format", Some(object), [format, rest @ ..]) if object.text() == "String" => {
                self.filled(*format, rest, Style::Percent, depth)
            }
            ("valueOf", Some(object), [value]) if object.text() == "String" => self.texts(*value, depth),
            ("toString", Some(object), []) => self.texts_of_object(object, depth),
            ("append", Some(_), [_]) => vec![self.chain(term, depth)],
            (_, None, _) => self.own(name, term, depth),
            _ => vec![self.hole(term, depth)],
        }
    }

    fn texts_of_object(&self, object: Term<'a>, depth: usize) -> Vec<Pieces> {
        match object.kind() {
            "identifier" | "method_invocation" | "field_access" => self.texts(object, depth + 1),
            _ => vec![self.hole(object, depth)],
        }
    }

    /// What one of the class's own methods gives that has one end.
    fn own(&self, name: &str, term: Term<'a>, depth: usize) -> Vec<Pieces> {
        let hole = || vec![self.hole(term, depth)];
        let Some((&[method], owner)) = self.program.methods(name, self.class) else { return hole() };
        if method.part_text("type") != "String" {
            return hole();
        }
        let ends = method.all().into_iter().filter(|part| part.kind() == "return_statement");
        match ends.filter_map(|end| end.parts().next()).collect::<Vec<_>>().as_slice() {
            [value] => non_empty(Scope::new(self.program, owner, method).texts(*value, depth + 1)),
            _ => hole(),
        }
    }

    /// `a.append(b).append(c)`, from its begin.
    fn chain(&self, term: Term<'a>, depth: usize) -> Pieces {
        let mut parts = Vec::new();
        let mut at = Some(term);
        while let Some(call) = at.filter(|at| at.kind() == "method_invocation") {
            let argument = call.part("arguments").and_then(|arguments| arguments.parts().next());
            match (call.part_text("name"), argument) {
                ("append", Some(argument)) => parts.push(self.texts(argument, depth + 1)),
                _ => parts.push(vec![vec![ANY]]),
            }
            at = call.part("object");
        }
        if let Some(new) = at.filter(|at| at.kind() == "object_creation_expression") {
            let argument = new.part("arguments").and_then(|arguments| arguments.parts().next());
            // A number is how much room to make.
            let text = argument.filter(|argument| self.kind(*argument, depth).as_deref() != Some("int"));
            parts.extend(text.map(|argument| self.texts(argument, depth + 1)));
        }
        joined(parts.into_iter().rev()).into_iter().next().unwrap_or_else(|| vec![ANY])
    }

    /// What was put into a builder before `term`. What happens under a condition or in a loop may be anything.
    fn built(&self, name: &str, term: Term<'a>, depth: usize) -> Pieces {
        let mut declared = self.member.all().into_iter().filter(|part| {
            part.kind() == "variable_declarator"
                && part.part_text("name") == name
                && part.start() < term.start()
        });
        let Some(declarator) = declared.next_back() else { return vec![ANY] };
        let mut pieces = Vec::new();
        // What a call other than a constructor gives is an old one, whose length is set to nothing before it is used.
        let is_new =
            |value: &Term<'_>| value.all().iter().any(|part| part.kind() == "object_creation_expression");
        if let Some(value) = declarator.part("value").filter(is_new) {
            pieces.extend(self.chain(value, depth));
        }
        let block = declarator.within(&["block", "constructor_body", "switch_block_statement_group"]);
        for statement in block.into_iter().flat_map(Term::parts) {
            let is_before = statement.start() < term.start() && !statement.holds(term);
            if statement.start() <= declarator.start() || !is_before {
                continue;
            }
            let names = |part: &Term<'_>| part.kind() == "identifier" && part.text() == name;
            if !statement.all().iter().any(names) {
                continue;
            }
            match (statement.kind(), statement.parts().next()) {
                ("expression_statement", Some(call)) if call.part_text("name") == "append" => {
                    pieces.extend(self.chain(call, depth));
                }
                ("expression_statement", Some(call)) if call.part_text("name") == "setLength" => {
                    pieces.clear()
                }
                _ => pieces.push(ANY),
            }
        }
        if pieces.is_empty() { vec![ANY] } else { pieces }
    }

    /// The text `format` with what stands for its places; the first text of each argument.
    pub(super) fn filled(
        &self,
        format: Term<'a>,
        arguments: &[Term<'a>],
        style: Style,
        depth: usize,
    ) -> Vec<Pieces> {
        let mut given: Vec<Term<'a>> = arguments.to_vec();
        // `new Object[] { a, b }` is as good as `a, b`.
        if let [array] = arguments
            && array.kind() == "array_creation_expression"
            && let Some(values) = array.part("value")
        {
            given = values.parts().collect();
        }
        let said: Vec<Pieces> = given
            .iter()
            .map(|argument| self.texts(*argument, depth + 1).into_iter().next().unwrap_or_else(|| vec![ANY]))
            .collect();
        let texts = self.texts(format, depth + 1);
        texts.into_iter().map(|pieces| style.fill(pieces, &said)).collect()
    }

    /// Name of the class in `X.class`.
    pub(super) fn class_name(&self, literal: Term<'a>, simple: bool) -> String {
        let name = literal.text().trim_end_matches(".class");
        let class = self.program.class(name, self.class).and_then(|id| self.program.classes.get(id));
        match class {
            Some(class) if !simple => class.name.clone(),
            _ => name.to_owned(),
        }
    }
}

/// A variable that gets its value elsewhere.
fn given(kind: &str) -> Variable<'_> {
    Variable { kind, value: None, is_final: false }
}

/// How a text marks the places that arguments fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `{}`, as slf4j does.
    Braces,
    /// `%s`, as `String.format` does.
    Percent,
}

impl Style {
    fn fill(self, pieces: Pieces, arguments: &[Pieces]) -> Pieces {
        let mut arguments = arguments.iter();
        let mut next = || arguments.next().cloned().unwrap_or_else(|| vec![ANY]);
        let mut filled = Vec::new();
        for piece in pieces {
            let Piece::Text(text) = piece else {
                filled.push(piece);
                continue;
            };
            let mut rest = text.as_str();
            while let Some((before, kind, behind)) = self.place(rest) {
                filled.push(Piece::Text(before.to_owned()));
                match kind {
                    '%' => filled.push(Piece::Text("%".to_owned())),
                    'n' => filled.push(Piece::End),
                    's' | 'd' => filled.extend(next()),
                    // Hexadecimal numbers and fractions, written as asked for.
                    _ => {
                        next();
                        filled.push(ANY);
                    }
                }
                rest = behind;
            }
            filled.push(Piece::Text(rest.to_owned()));
        }
        filled
    }

    /// The first place of `text`: what is before it, its kind, what is behind it.
    fn place(self, text: &str) -> Option<(&str, char, &str)> {
        if self == Self::Braces {
            let (before, behind) = text.split_once("{}")?;
            return Some((before, 's', behind));
        }
        let (before, behind) = text.split_once('%')?;
        let end = behind.find(|sign: char| sign.is_ascii_alphabetic() || sign == '%')?;
        let kind = behind.get(end..)?.chars().next()?;
        // Widths and signs make other numbers of it.
        let kind = if end > 0 && kind == 'd' { 'x' } else { kind };
        Some((before, kind, behind.get(end + 1..)?))
    }
}

/// Every text of the first followed by every one of the next.
fn joined(parts: impl Iterator<Item = Vec<Pieces>>) -> Vec<Pieces> {
    let mut all = vec![Vec::new()];
    for part in parts {
        let part = non_empty(part);
        let longer = all.iter().flat_map(|begin: &Pieces| {
            part.iter().map(|end| begin.iter().chain(end).cloned().collect::<Pieces>())
        });
        all = longer.take(ALTERNATIVES_MAX).collect();
    }
    all
}

fn bounded(texts: impl Iterator<Item = Pieces>) -> Vec<Pieces> {
    texts.take(ALTERNATIVES_MAX).collect()
}

fn non_empty(texts: Vec<Pieces>) -> Vec<Pieces> {
    if texts.is_empty() { vec![vec![ANY]] } else { texts }
}

/// What a literal stands for.
fn unescaped(literal: &str) -> String {
    let mut text = String::new();
    let mut signs = literal.chars();
    while let Some(sign) = signs.next() {
        if sign != '\\' {
            text.push(sign);
            continue;
        }
        match signs.next() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('u') => {
                let code: String = signs.by_ref().take(4).collect();
                text.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
            }
            Some(other) => text.push(other),
            None => {}
        }
    }
    text
}

/// The template's text; empty where nothing is said on the first line.
pub(super) fn template(pieces: &[Piece]) -> String {
    let mut written = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(part) => {
                let line = part.split(['\n', '\r']).next().unwrap_or_default();
                written += line;
                if line.len() < part.len() {
                    break;
                }
            }
            Piece::Hole(hole) if *hole == text::ANY && written.ends_with(text::ANY) => {}
            Piece::Hole(hole) => written += hole,
            Piece::End => break,
        }
    }
    written.trim().to_owned()
}
