//! Carries orders out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tillwatch_model::dimension::is_identifier;
use tillwatch_token::{AUDIENCE, Claims, KeyError, SEED_BYTES, VALID_S_MAX, VerifyingKey};

use crate::audit_log::{AuditLog, Entry, Outcome};
use crate::auth::{
    Gate, KeyFolder, KeyFolderError, Keys, Looked, Revocation, Revocations, Revoked, StaticKeys,
};
use crate::clock::InDoubt;
use crate::credentials::new_key;
use crate::credentials::order::{Answer, ListedSigningKey, Order};
use crate::credentials::words::{listed_key, listed_revocation, words};
use crate::persist::{State, StateError};
use crate::world::World;

/// How far ahead the time may be before which tokens are ended: two clocks differ a little. Unit: ms.
const AHEAD_MS_MAX: i64 = 60_000;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The order cannot be right.
    #[error("{0}")]
    Wrong(String),
    /// A file of a key fails.
    #[error(transparent)]
    Keys(#[from] KeyFolderError),
    /// The state file fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// A key or a token cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers; look at its log")]
    NoChance(#[source] std::io::Error),
}

pub(super) fn wrong(message: impl Into<String>) -> Fault {
    Fault::Wrong(message.into())
}

/// Where orders are carried out.
#[derive(Debug)]
pub struct Desk {
    state: Arc<State>,
    folder: KeyFolder,
    /// The keys as they were last found.
    keys: Mutex<Keys>,
    /// Held from a change of the state file until the gate knows of it: else the gate could be told of an older state
    /// after a newer one.
    changing: Mutex<()>,
    /// Keys of the shop's own backend.
    foreign: Mutex<BTreeMap<String, VerifyingKey>>,
    /// Told of every change, in a running collector.
    gate: Option<Arc<Gate>>,
    log: AuditLog,
    world: World,
}

impl Desk {
    /// A desk over this data folder; `gate` lets in whoever its credentials name.
    #[must_use]
    pub fn new(
        data_dir: &Path,
        state: Arc<State>,
        gate: Option<Arc<Gate>>,
        log: AuditLog,
        world: World,
    ) -> Self {
        let folder = KeyFolder::of(data_dir);
        Self {
            state,
            keys: Mutex::new(folder.keys()),
            changing: Mutex::default(),
            foreign: Mutex::default(),
            folder,
            gate,
            log,
            world,
        }
    }

    /// Tells the gate of everything that the state file holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn tell_gate(&self) -> Result<(), StateError> {
        if let Some(gate) = &self.gate {
            gate.set_static_keys(StaticKeys::new(self.state.static_keys()?));
            gate.set_revocations(Revocations::new(self.state.revocations()?));
        }
        Ok(())
    }

    /// Looks at the files of the keys, and tells the gate if one has come or gone.
    ///
    /// # Errors
    /// When the folder cannot be read. All keys stay then.
    pub fn look_at_keys(&self) -> Result<Looked, KeyFolderError> {
        let mut keys = self.keys();
        let looked = keys.look()?;
        if looked.has_changed {
            self.tell_keys(&keys);
        }
        Ok(looked)
    }

    /// Takes other keys of the shop's own backend, and tells the gate.
    pub fn set_foreign(&self, foreign: BTreeMap<String, VerifyingKey>) {
        let keys = self.keys();
        *self.foreign() = foreign;
        self.tell_keys(&keys);
    }

    fn foreign(&self) -> MutexGuard<'_, BTreeMap<String, VerifyingKey>> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_keys(&self, own: &Keys) {
        if let Some(gate) = &self.gate {
            let mut all = own.verifying();
            for (kid, key) in self.foreign().iter() {
                all.insert_foreign(kid.clone(), key.clone());
            }
            gate.set_keys(all, own.all().last().map(|key| (*key).clone()));
        }
    }

    /// How many keys verify tokens.
    #[must_use]
    pub fn verifying(&self) -> usize {
        self.keys().verifying().len() + self.foreign().len()
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries an order out and notes it. `by` is the way by which it came. Blocks for the disk.
    ///
    /// # Errors
    /// Says why it was not carried out.
    pub fn carry_out(&self, order: &Order, by: &str) -> Result<Answer, Fault> {
        // What is not even written as it must be may be anything, a secret that was pasted, too: it is not noted.
        order.check().map_err(wrong)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.act(order);
        if let Some((act, about)) = words(order, done.as_ref().ok()) {
            self.log.note(&Entry {
                act,
                by,
                about,
                outcome: match done {
                    Ok(_) => Outcome::Done,
                    Err(_) => Outcome::Failed,
                },
            });
        }
        done
    }

    fn act(&self, order: &Order) -> Result<Answer, Fault> {
        match order {
            Order::NewSigningKey => self.new_signing_key(),
            Order::RetireSigningKey { kid } => {
                self.folder.retire(kid, self.world.clock.now_ms())?;
                self.look_at_keys()?;
                Ok(Answer::default())
            }
            Order::RemoveSigningKey { kid } => {
                self.folder.remove(kid)?;
                self.look_at_keys()?;
                Ok(Answer::default())
            }
            Order::Issue {
                store,
                terminal,
                valid_s,
            } => self.issue(store, terminal.as_deref(), *valid_s),
            Order::RevokeFamily { family } => self.revoke(&family_of(family)),
            Order::RevokeBefore {
                store,
                terminal,
                before_ms,
            } => self.revoke(&self.before(store, terminal.as_deref(), *before_ms)?),
            Order::NewKey {
                scopes,
                stores,
                name,
            } => self.new_key(scopes, stores, name),
            Order::RemoveKey { id } => {
                if !self.state.remove_static_key(id)? {
                    return Err(wrong(
                        "there is no such key; `tillwatch key list` names them",
                    ));
                }
                self.tell_gate()?;
                Ok(Answer::default())
            }
            Order::List => self.list(),
        }
    }

    fn new_signing_key(&self) -> Result<Answer, Fault> {
        let seed = self.world.chance.secret::<SEED_BYTES>();
        let seed = seed.map_err(Fault::NoChance)?;
        let kid = self.world.chance.uuid().simple().to_string();
        let kid = kid.get(..16).unwrap_or(&kid).to_owned();
        self.folder
            .add(seed, kid.clone(), self.world.clock.now_ms())?;
        self.look_at_keys()?;
        Ok(Answer {
            id: Some(kid),
            ..Answer::default()
        })
    }

    fn issue(&self, store: &str, terminal: Option<&str>, valid_s: i64) -> Result<Answer, Fault> {
        check_identifiers([store].into_iter().chain(terminal))?;
        if !(1..=VALID_S_MAX).contains(&valid_s) {
            return Err(wrong(
                "a token is valid for at least a second and at most 400 days",
            ));
        }
        self.look_at_keys()?;
        let keys = self.keys();
        let key = *keys.all().last().ok_or_else(|| {
            wrong(format!(
                "there is no key in {}: make one with `tillwatch token key new`",
                self.folder.path().display()
            ))
        })?;
        let now_s = self.sure_ms()?.div_euclid(1_000);
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            store: store.to_owned(),
            terminal: terminal.map(str::to_owned),
            cohort: None,
            jti: self.world.chance.uuid().simple().to_string(),
            fam: None,
            iat: now_s,
            auth_time: None,
            nbf: None,
            exp: now_s + valid_s,
        };
        Ok(Answer {
            secret: Some(key.sign(&claims)?),
            id: Some(claims.jti),
            ..Answer::default()
        })
    }

    /// The time, if it can be trusted: a token that a wrong clock made would be wrong for as long as it lives.
    fn sure_ms(&self) -> Result<i64, Fault> {
        let now_ms = self.world.clock.received_at_ms();
        now_ms.map_err(|InDoubt| {
            wrong("the collector's clock cannot be trusted now; see `tillwatch clock show`")
        })
    }

    fn before(
        &self,
        store: &str,
        terminal: Option<&str>,
        before_ms: Option<i64>,
    ) -> Result<Revocation, Fault> {
        check_identifiers([store].into_iter().chain(terminal))?;
        let now_ms = self.sure_ms()?;
        // A token says the second of its issue: with the next one begin those that were issued after this.
        let before_ms = before_ms.unwrap_or_else(|| (now_ms.div_euclid(1_000) + 1) * 1_000);
        if before_ms > now_ms + AHEAD_MS_MAX {
            return Err(wrong("tokens that are issued later cannot be revoked yet"));
        }
        let store_id = store.into();
        let revoked = match terminal {
            None => Revoked::Store(store_id),
            Some(terminal) => Revoked::Terminal(store_id, terminal.into()),
        };
        Ok(Revocation { revoked, before_ms })
    }

    fn revoke(&self, revocation: &Revocation) -> Result<Answer, Fault> {
        let clock = &self.world.clock;
        // Nothing is forgotten on the word of a clock that may be wrong.
        self.state
            .revoke(revocation, clock.now_ms(), clock.is_settled())?;
        self.tell_gate()?;
        let before_ms = match revocation.revoked {
            Revoked::Family(_) => None,
            Revoked::Store(_) | Revoked::Terminal(..) => Some(revocation.before_ms),
        };
        Ok(Answer {
            before_ms,
            ..Answer::default()
        })
    }

    fn new_key(&self, scopes: &[String], stores: &[String], name: &str) -> Result<Answer, Fault> {
        let (key, secret) = new_key::make(&self.world, scopes, stores, name)?;
        self.state.add_static_key(&key)?;
        self.tell_gate()?;
        Ok(Answer {
            id: Some(secret.id().to_owned()),
            secret: Some(secret.reveal().to_owned()),
            ..Answer::default()
        })
    }

    fn list(&self) -> Result<Answer, Fault> {
        self.look_at_keys()?;
        let keys = self.keys();
        let signing = keys.all().into_iter().map(|key| ListedSigningKey {
            kid: key.kid().to_owned(),
            created_at_ms: key.created_at_ms(),
            retired_at_ms: None,
        });
        let retired = keys.retired().into_iter().map(|key| ListedSigningKey {
            kid: key.kid().to_owned(),
            created_at_ms: key.created_at_ms(),
            retired_at_ms: Some(key.retired_at_ms()),
        });
        let static_keys = self.state.static_keys()?;
        let revocations = self.state.revocations()?;
        Ok(Answer {
            signing_keys: retired.chain(signing).collect(),
            keys: static_keys.into_iter().map(listed_key).collect(),
            revocations: revocations.into_iter().map(listed_revocation).collect(),
            ..Answer::default()
        })
    }
}

pub(super) fn check_identifiers<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
    match names.find(|name| !is_identifier(name)) {
        None => Ok(()),
        Some(name) => Err(wrong(format!(
            "{name:?} is not the name of a store or a terminal: it must match [A-Za-z0-9_.:-]{{1,64}}"
        ))),
    }
}

fn family_of(family: &str) -> Revocation {
    Revocation {
        revoked: Revoked::Family(family.into()),
        before_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit_log;
    use crate::auth::{Denied, GateSettings, Mode, Scope, Shown, Who};

    const NOW_MS: i64 = 1_795_900_000_400;

    struct Office {
        folder: tempfile::TempDir,
        gate: Arc<Gate>,
        desk: Desk,
        hand: crate::clock::Hand,
    }

    fn office() -> Office {
        let folder = tempfile::tempdir().unwrap();
        let hand = crate::clock::Hand::at(NOW_MS);
        let world = World {
            clock: crate::clock::Clock::by_hand(hand.clone()),
            ..World::of_machine()
        };
        let gate = Arc::new(Gate::new(GateSettings {
            posting: Mode::Required,
            admin: Mode::Required,
            are_apps_let_in: true,
            family_s_max: VALID_S_MAX,
        }));
        let state = Arc::new(State::open(folder.path(), &world).unwrap());
        let log = AuditLog::here(folder.path(), world.clock.clone());
        let desk = Desk::new(folder.path(), state, Some(Arc::clone(&gate)), log, world);
        Office {
            folder,
            gate,
            desk,
            hand,
        }
    }

    impl Office {
        fn order(&self, order: &Order) -> Answer {
            self.desk.carry_out(order, "test").unwrap()
        }

        fn issue(&self, terminal: Option<&str>) -> Answer {
            self.order(&Order::Issue {
                store: "store-1".to_owned(),
                terminal: terminal.map(str::to_owned),
                valid_s: 3_600,
            })
        }

        fn shows(&self, credential: &str) -> Result<Who, Denied> {
            let header = format!("Bearer {credential}");
            let shown = Shown {
                authorization: std::iter::once(header.as_bytes()),
                api_key: std::iter::empty(),
            };
            self.gate.admit(shown, Some(NOW_MS))
        }
    }

    #[test]
    fn a_token_is_good_until_it_is_revoked_by_its_name_or_with_its_store() {
        let office = office();
        office.order(&Order::NewSigningKey);
        let [one, other] = [office.issue(Some("till-1")), office.issue(None)];
        let text = |answer: &Answer| answer.secret.clone().unwrap();
        assert!(office.shows(&text(&one)).is_ok() && office.shows(&text(&other)).is_ok());
        office.order(&Order::RevokeFamily {
            family: one.id.clone().unwrap(),
        });
        assert_eq!(office.shows(&text(&one)), Err(Denied::Revoked));
        assert!(office.shows(&text(&other)).is_ok());
        let revoked = office.order(&Order::RevokeBefore {
            store: "store-1".to_owned(),
            terminal: None,
            before_ms: None,
        });
        assert_eq!(office.shows(&text(&other)), Err(Denied::Revoked));
        // Whoever waits until then gets a token that counts.
        office.hand.pass(revoked.before_ms.unwrap() - NOW_MS);
        assert!(office.shows(&text(&office.issue(None))).is_ok());
        assert_eq!(office.order(&Order::List).revocations.len(), 2);
    }

    #[test]
    fn a_retired_key_verifies_on_and_one_that_is_removed_does_not() {
        let office = office();
        let first = office.order(&Order::NewSigningKey).id.unwrap();
        let token = office.issue(None).secret.unwrap();
        office.hand.pass(1);
        let second = office.order(&Order::NewSigningKey).id.unwrap();
        office.order(&Order::RetireSigningKey { kid: first.clone() });
        assert!(office.shows(&token).is_ok());
        let listed = office.order(&Order::List).signing_keys;
        let kids: Vec<&str> = listed.iter().map(|key| key.kid.as_str()).collect();
        assert_eq!(kids, [first.as_str(), second.as_str()]);
        office.order(&Order::RemoveSigningKey { kid: first.clone() });
        assert!(matches!(office.shows(&token), Err(Denied::Invalid(_))));
        let again = Order::RemoveSigningKey { kid: first };
        assert!(office.desk.carry_out(&again, "test").is_err());
        let elsewhere = Order::RemoveSigningKey {
            kid: "../state".to_owned(),
        };
        assert!(office.desk.carry_out(&elsewhere, "test").is_err());
    }

    #[test]
    fn what_cannot_be_right_is_refused_and_every_act_is_written_down_without_its_secret() {
        let office = office();
        office.order(&Order::NewSigningKey);
        let token = office.issue(None).secret.unwrap();
        let new_key = |scopes: &[&str], stores: &[&str], name: &str| Order::NewKey {
            scopes: scopes.iter().map(|text| (*text).to_owned()).collect(),
            stores: stores.iter().map(|text| (*text).to_owned()).collect(),
            name: name.to_owned(),
        };
        let made = office.order(&new_key(&["read", "metrics"], &[], "prometheus"));
        for wrong in [
            new_key(&[], &[], ""),
            new_key(&["root"], &[], ""),
            new_key(&["app", "read"], &[], "shop"),
            new_key(&["app"], &["store-1"], "the shop"),
            new_key(&["app"], &[], "shop"),
            new_key(&["read"], &["store-1"], ""),
            new_key(&["post"], &["store 1"], ""),
            new_key(&["read"], &[], "two\nlines"),
            Order::RemoveKey {
                id: "none".to_owned(),
            },
            Order::RevokeFamily {
                family: String::new(),
            },
            Order::RevokeBefore {
                store: "store-1".to_owned(),
                terminal: None,
                before_ms: Some(NOW_MS + 600_000),
            },
        ] {
            assert!(office.desk.carry_out(&wrong, "test").is_err(), "{wrong:?}");
        }
        let key = made.secret.unwrap();
        let refused = office.shows(&key);
        assert_eq!(refused, Err(Denied::Scope(Scope::Post)));
        office.order(&Order::RemoveKey {
            id: made.id.unwrap(),
        });
        assert_eq!(office.shows(&key), Err(Denied::UnknownStaticKey));
        let log = std::fs::read_to_string(office.folder.path().join(audit_log::FILE)).unwrap();
        assert_eq!(log.lines().count(), 13, "{log}");
        assert!(log.contains("\"key.remove\"") && log.contains("\"failed\""));
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature) && !log.contains(key.rsplit('_').next().unwrap()));
    }
}
