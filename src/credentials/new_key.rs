//! Makes a static key, if what was ordered can be right.

use tillwatch_model::dimension::{APP_PREFIX, is_identifier};

use crate::auth::{STORES_MAX, Scope, Secret, StaticKey};
use crate::credentials::desk::{Fault, check_identifiers, wrong};
use crate::world::World;

/// How long the text may be that says what a key is for. Unit: bytes.
const NAME_BYTES_MAX: usize = 100;

/// Makes a static key of what was ordered; gives what is kept of it, and the key itself.
///
/// # Errors
/// When the order cannot be right, or there is no chance to draw from.
pub(super) fn make(
    world: &World,
    scopes: &[String],
    stores: &[String],
    name: &str,
) -> Result<(StaticKey, Secret), Fault> {
    let known = |name: &String| {
        Scope::of_name(name).ok_or_else(|| {
            let all = Scope::ALL.map(Scope::name).join(", ");
            wrong(format!("{name:?} is no scope; there are {all}"))
        })
    };
    let mut scopes: Vec<Scope> = scopes.iter().map(known).collect::<Result<_, _>>()?;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(wrong("a key needs a scope"));
    }
    if scopes.contains(&Scope::App) && scopes.len() > 1 {
        return Err(wrong(
            "everybody can read the key of a browser application, so it has the scope app alone",
        ));
    }
    // What comes with such a key is stored as that of a terminal of this name, which no till has.
    let name = if scopes.contains(&Scope::App) {
        format!("{APP_PREFIX}{name}")
    } else {
        name.to_owned()
    };
    if scopes.contains(&Scope::App) && (!is_identifier(&name) || stores.is_empty()) {
        return Err(wrong(
            "a browser application needs a name of the form [A-Za-z0-9_.:-]{1,60}, and the stores that it posts for",
        ));
    }
    let is_plain = name.chars().all(|character| !character.is_control());
    if name.len() > NAME_BYTES_MAX || !is_plain {
        return Err(wrong(format!(
            "a name is a line of at most {NAME_BYTES_MAX} bytes"
        )));
    }
    let posts = scopes.contains(&Scope::Post) || scopes.contains(&Scope::App);
    if stores.len() > STORES_MAX || (!stores.is_empty() && !posts) {
        return Err(wrong(format!(
            "a key names at most {STORES_MAX} stores, and only if it may post"
        )));
    }
    check_identifiers(stores.iter().map(String::as_str))?;
    let chance = &world.chance;
    let id = chance.secret().map_err(Fault::NoChance)?;
    let secret = Secret::new(id, chance.secret().map_err(Fault::NoChance)?);
    let stores: Vec<Box<str>> = stores.iter().map(|store| store.as_str().into()).collect();
    let key = StaticKey {
        id: secret.id().into(),
        digest: secret.digest(),
        scopes,
        stores: (!stores.is_empty()).then_some(stores),
        name: name.into(),
        created_at_ms: world.clock.now_ms(),
    };
    Ok((key, secret))
}
