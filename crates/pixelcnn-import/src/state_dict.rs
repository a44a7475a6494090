//! The tensors of a checkpoint by name, whatever they are wrapped in.

use std::collections::BTreeMap;

use pixelcnn_system::escaped;

use crate::pickle::{Id, Pickle, TensorPlace, Value};

/// Keys under which programs save the tensors beside other things.
const WRAPPERS: [&str; 2] = ["state_dict", "model"];
/// Beginnings of all names, from programs that wrap a model: data-parallel training,
/// compilation, and a module that has the model as a part.
const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];
/// Limit on the number of such beginnings of one name.
const MOST_PREFIXES: usize = 8;
/// Limit on the number of tensors.
const MOST_TENSORS: usize = 1 << 16;
/// Number of names that a note lists.
const SHOWN: usize = 12;

/// Finds the dictionary of tensors in a pickle. The notes say what was passed over.
///
/// # Errors
///
/// If there is none, or a name occurs twice.
pub(crate) fn of_pickle(
    pickle: &Pickle<'_>,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, TensorPlace>, String> {
    let mut current = pickle.root();
    for _ in 0..=WRAPPERS.len() {
        let Value::Dict(entries) = current else { break };
        let text = |key| pickle.text(key).unwrap_or("?");
        let inner = WRAPPERS.iter().find_map(|name| {
            let mut entries = entries.iter();
            entries.find(|(key, value)| {
                text(*key) == *name && matches!(pickle.get(*value), Value::Dict(_))
            })
        });
        let Some((key, value)) = inner else {
            match entries.iter().any(|(_, it)| pickle.tensor(*it).is_some()) {
                true => return tensors(pickle, entries, notes),
                false => break,
            }
        };
        let others = entries.iter().filter(|(other, _)| other != key);
        let others: Vec<_> = others.map(|(other, _)| text(*other)).collect();
        notes.push(format!("the tensors are those under {}", text(*key)));
        if !others.is_empty() {
            notes.push(format!("passed over: {}", listed(&others)));
        }
        current = pickle.get(*value);
    }
    Err(format!(
        "a dictionary of tensors expected, or one under {}: save model.state_dict() with torch.save",
        WRAPPERS.join(" or ")
    ))
}

fn tensors(
    pickle: &Pickle<'_>,
    entries: &[(Id, Id)],
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, TensorPlace>, String> {
    if entries.len() > MOST_TENSORS {
        let found = entries.len();
        return Err(format!(
            "at most {MOST_TENSORS} tensors expected, found {found}"
        ));
    }
    let mut tensors = BTreeMap::new();
    let mut others = Vec::new();
    for (key, value) in entries {
        let Some(name) = pickle.text(*key) else {
            return Err("a tensor whose name is not a text".to_string());
        };
        let Some(tensor) = pickle.tensor(*value) else {
            others.push(name);
            continue;
        };
        if tensors.insert(name.to_string(), tensor).is_some() {
            return Err(format!("two tensors of the name {name}"));
        }
    }
    if !others.is_empty() {
        notes.push(format!("passed over, not tensors: {}", listed(&others)));
    }
    Ok(tensors)
}

/// The names without what wraps all of them.
pub(crate) fn unwrapped<T>(
    mut tensors: BTreeMap<String, T>,
    notes: &mut Vec<String>,
) -> BTreeMap<String, T> {
    let all = |tensors: &BTreeMap<String, T>, prefix: &str| {
        !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(prefix))
    };
    // Each round copies all names, and a damaged file may have very long ones.
    for _ in 0..MOST_PREFIXES {
        let Some(prefix) = PREFIXES.iter().find(|prefix| all(&tensors, prefix)) else {
            break;
        };
        notes.push(format!("all names begin with {prefix}, which is left out"));
        let inner = tensors.into_iter();
        let inner = inner.map(|(name, tensor)| (name[prefix.len()..].to_string(), tensor));
        tensors = inner.collect();
    }
    tensors
}

/// Some names, and how many more there are; long ones are cut, control characters escaped.
pub(crate) fn listed(names: &[&str]) -> String {
    let short = |name: &&str| name.chars().take(60).collect::<String>();
    let shown: Vec<_> = names.iter().take(SHOWN).map(short).collect();
    let shown = escaped(&shown.join(", "));
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
