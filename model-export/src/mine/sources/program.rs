//! The classes of one version: their names, what they extend, their fields and methods, and which a name stands for.

use std::collections::BTreeMap;

use super::tree::{Source, Term};

/// Kinds of declarations that hold fields and methods.
pub(super) const TYPES: [&str; 4] =
    ["class_declaration", "interface_declaration", "enum_declaration", "record_declaration"];
/// Classes above a class that are asked; Hadoop has no more.
const ABOVE_MAX: usize = 12;

/// A variable or field: its type as written, and what it is set to where it is declared.
#[derive(Clone, Copy)]
pub(super) struct Variable<'a> {
    pub(super) kind: &'a str,
    pub(super) value: Option<Term<'a>>,
    /// Whether it is never set to anything else.
    pub(super) is_final: bool,
}

/// A class, by its place in the program.
pub(super) type ClassId = usize;

/// A class.
pub(super) struct Class<'a> {
    /// With its package, as loggers are named after it: `a.b.Outer$Inner`.
    pub(super) name: String,
    pub(super) declaration: Term<'a>,
    package: &'a str,
    outer: Option<ClassId>,
    above: Vec<&'a str>,
    fields: BTreeMap<&'a str, Variable<'a>>,
    /// By name; overloaded ones one behind the other.
    methods: BTreeMap<&'a str, Vec<Term<'a>>>,
    /// What the file imports: simple names with the whole ones.
    imports: std::rc::Rc<BTreeMap<&'a str, &'a str>>,
}

/// All classes of a version.
pub(super) struct Program<'a> {
    pub(super) classes: Vec<Class<'a>>,
    by_name: BTreeMap<String, ClassId>,
    /// Of simple names; several classes may share one.
    by_simple_name: BTreeMap<&'a str, Vec<ClassId>>,
}

impl<'a> Program<'a> {
    /// Those in `sources`.
    pub(super) fn new(sources: &'a [Source]) -> Self {
        let mut program =
            Self { classes: Vec::new(), by_name: BTreeMap::new(), by_simple_name: BTreeMap::new() };
        for source in sources {
            program.add(source.root());
        }
        program
    }

    fn add(&mut self, root: Term<'a>) {
        let mut package = "";
        let mut imports = BTreeMap::new();
        for part in root.parts() {
            match part.kind() {
                "package_declaration" => package = part.parts().last().map_or("", Term::text),
                "import_declaration" => {
                    let name = part.parts().next().map_or("", Term::text);
                    if let Some((_, simple)) = name.rsplit_once('.') {
                        imports.insert(simple, name);
                    }
                }
                _ => {}
            }
        }
        let imports = std::rc::Rc::new(imports);
        for part in root.parts() {
            if TYPES.contains(&part.kind()) {
                self.add_class(part, package, None, &imports);
            }
        }
    }

    fn add_class(
        &mut self,
        declaration: Term<'a>,
        package: &'a str,
        outer: Option<ClassId>,
        imports: &std::rc::Rc<BTreeMap<&'a str, &'a str>>,
    ) {
        let simple = declaration.part_text("name");
        let name = match outer.and_then(|outer| self.classes.get(outer)) {
            Some(outer) => format!("{}${simple}", outer.name),
            None => format!("{package}.{simple}"),
        };
        let above = declaration
            .parts()
            .filter(|part| ["superclass", "super_interfaces", "extends_interfaces"].contains(&part.kind()))
            .flat_map(Term::all)
            .filter(|part| part.kind() == "type_identifier")
            .map(Term::text)
            .collect();
        let id = self.classes.len();
        let mut class = Class {
            name: name.clone(),
            declaration,
            package,
            outer,
            above,
            fields: BTreeMap::new(),
            methods: BTreeMap::new(),
            imports: std::rc::Rc::clone(imports),
        };
        let mut inner = Vec::new();
        for member in members(declaration) {
            match member.kind() {
                "field_declaration" | "constant_declaration" => class.fields.extend(variables(member)),
                "method_declaration" => {
                    class.methods.entry(member.part_text("name")).or_default().push(member)
                }
                kind if TYPES.contains(&kind) => inner.push(member),
                _ => {}
            }
        }
        self.classes.push(class);
        self.by_name.insert(name, id);
        self.by_simple_name.entry(simple).or_default().push(id);
        for member in inner {
            self.add_class(member, package, Some(id), imports);
        }
    }

    /// The class that `name` stands for within `from`.
    pub(super) fn class(&self, name: &str, from: ClassId) -> Option<ClassId> {
        let name = name.split('<').next().unwrap_or(name).trim();
        if let Some((outer, inner)) = name.rsplit_once('.') {
            if let Some(&id) = self.by_name.get(name) {
                return Some(id);
            }
            let outer = self.classes.get(self.class(outer, from)?)?;
            return self.by_name.get(&format!("{}${inner}", outer.name)).copied();
        }
        let mut around = Some(from);
        while let Some(class) = around.and_then(|id| self.classes.get(id)) {
            if let Some(&id) = self.by_name.get(&format!("{}${name}", class.name)) {
                return Some(id);
            }
            around = class.outer;
        }
        let class = self.classes.get(from)?;
        let candidates = [class.imports.get(name).map(|name| (*name).to_owned())];
        let named = candidates.into_iter().flatten().chain([format!("{}.{name}", class.package)]);
        let found = named.filter_map(|name| self.by_name.get(&name).copied()).next();
        // An inner class that is imported by the outer one, or one of a package that is imported whole.
        let alone = || self.by_simple_name.get(name).filter(|ids| ids.len() == 1)?.first().copied();
        found.or_else(alone)
    }

    /// The field `name` of a class, of those that it extends, or of those around it, with the class that has it.
    pub(super) fn field(&self, name: &str, from: ClassId) -> Option<(Variable<'a>, ClassId)> {
        let found = self.reached(from).into_iter().find_map(|id| {
            let field = self.classes.get(id)?.fields.get(name)?;
            Some((*field, id))
        });
        // Imported by name: `import static a.B.NAME`.
        found.or_else(|| {
            let whole = self.classes.get(from)?.imports.get(name)?;
            let (class, _) = whole.rsplit_once('.')?;
            let id = self.class(class, from)?;
            Some((*self.classes.get(id)?.fields.get(name)?, id))
        })
    }

    /// Simple name of a class that no other one extends, so that it is the name of all its objects' class.
    pub(super) fn last_name(&self, id: ClassId) -> Option<&'a str> {
        let name = self.classes.get(id)?.declaration.part_text("name");
        let is_extended = self.classes.iter().any(|class| class.above.contains(&name));
        (!is_extended).then_some(name)
    }

    /// Methods of that name, of the same classes as [`field`](Self::field); the class has them.
    pub(super) fn methods(&self, name: &str, from: ClassId) -> Option<(&[Term<'a>], ClassId)> {
        self.reached(from)
            .into_iter()
            .find_map(|id| Some((self.classes.get(id)?.methods.get(name)?.as_slice(), id)))
    }

    /// The class, those that it extends, then those around it with what they extend; each once, nearest first.
    pub(super) fn reached(&self, from: ClassId) -> Vec<ClassId> {
        let mut reached = Vec::new();
        let mut around = Some(from);
        while let Some(id) = around {
            let mut waiting = vec![id];
            while let Some(id) = waiting.pop() {
                if reached.contains(&id) || reached.len() > ABOVE_MAX {
                    continue;
                }
                reached.push(id);
                let above = self.classes.get(id).map_or(&[][..], |class| &class.above);
                waiting.extend(above.iter().filter_map(|name| self.class(name, id)));
            }
            around = self.classes.get(id).and_then(|class| class.outer);
        }
        reached
    }
}

/// Declarations in a class's body.
pub(super) fn members(declaration: Term<'_>) -> Vec<Term<'_>> {
    let body = declaration.part("body").into_iter().flat_map(Term::parts);
    let flat = body.flat_map(|member| match member.kind() {
        "enum_body_declarations" => member.parts().collect::<Vec<_>>(),
        _ => vec![member],
    });
    flat.collect()
}

/// Variables of a declaration: `int a = 1, b`.
pub(super) fn variables(declaration: Term<'_>) -> Vec<(&str, Variable<'_>)> {
    let kind = declaration.part_text("type");
    let modifiers = declaration.parts().find(|part| part.kind() == "modifiers");
    let is_final = declaration.kind() == "constant_declaration"
        || modifiers.is_some_and(|modifiers| modifiers.text().split_whitespace().any(|word| word == "final"));
    let declarators = declaration.parts().filter(|part| part.kind() == "variable_declarator");
    declarators
        .map(|part| (part.part_text("name"), Variable { kind, value: part.part("value"), is_final }))
        .collect()
}
