//! The bill of materials of a program: CycloneDX 1.6 as JSON.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Release;
use super::components::{Component, Origin};

/// The document; `components` has the program first.
pub(super) fn document(program: &str, release: &Release, components: &[Component]) -> Result<String> {
    let time = Timestamp::from_second(i64::try_from(release.epoch)?)?.to_string();
    let (itself, others): (Vec<&Component>, Vec<&Component>) =
        components.iter().partition(|component| component.name == program);
    let dependencies: Vec<Value> = components
        .iter()
        .map(|component| json!({"ref": component.purl, "dependsOn": component.needs}))
        .collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "component": itself.first().map(|component| described(component, "application")),
        },
        "components": others.iter().map(|component| described(component, "library")).collect::<Vec<_>>(),
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn described(component: &Component, kind: &str) -> Value {
    let mut described = json!({
        "type": kind,
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
    });
    let mut set = |key: &str, value: Value| {
        if let Some(object) = described.as_object_mut() {
            object.insert(key.to_owned(), value);
        }
    };
    if !component.licence.is_empty() {
        set("licenses", json!([{"expression": component.licence}]));
    }
    if let Origin::Registry { checksum } = &component.origin {
        set("hashes", json!([{"alg": "SHA-256", "content": checksum}]));
    }
    if !component.repository.is_empty() {
        set("externalReferences", json!([{"type": "vcs", "url": component.repository}]));
    }
    described
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{components, licences};
    use super::*;

    #[test]
    fn the_bill_names_what_is_linked_and_every_reference_in_it_leads_somewhere() {
        let release = Release { version: "1".to_owned(), epoch: 0, fast: true };
        let found = components::of("blocksift-collector").unwrap();
        let text = document("blocksift-collector", &release, &found).unwrap();
        let bill: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(bill["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
        let components = bill["components"].as_array().unwrap();
        let named: BTreeSet<&str> = components.iter().filter_map(|one| one["name"].as_str()).collect();
        assert!(named.contains("rusqlite") && named.contains("blocksift-detector"), "{named:?}");
        for absent in ["serde_derive", "proptest", "cc", "wasmtime"] {
            assert!(!named.contains(absent), "{absent} is not linked");
        }
        let mut known: BTreeSet<&str> = components.iter().filter_map(|one| one["bom-ref"].as_str()).collect();
        known.extend(bill["metadata"]["component"]["bom-ref"].as_str());
        for dependency in bill["dependencies"].as_array().unwrap() {
            assert!(known.contains(dependency["ref"].as_str().unwrap()), "{dependency}");
            for needed in dependency["dependsOn"].as_array().unwrap() {
                assert!(known.contains(needed.as_str().unwrap()), "{dependency}");
            }
        }
        let own = |name: &str| name.starts_with("blocksift");
        for component in components {
            let name = component["name"].as_str().unwrap();
            assert_eq!(component["hashes"].is_array(), !own(name) && name != "uplot", "{name}");
            assert!(component["licenses"].is_array(), "{name} has no licence");
        }
        let vendored = components.iter().find(|one| one["name"] == "uplot").unwrap();
        assert!(vendored["purl"].as_str().unwrap().starts_with("pkg:npm/uplot@"), "{vendored}");
        let licences = licences::text("blocksift-collector", &found).unwrap();
        assert!(licences.contains("Leon Sorokin"), "the licence of what is vendored is missing");
    }
}
