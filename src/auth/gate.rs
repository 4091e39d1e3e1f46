//! From the head of a request to whoever sent it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tillwatch_token::{Invalid, KeySet, SigningKey, TOKEN_BYTES_MAX, renew};

use crate::auth::bearer::Bearer;
use crate::auth::denied::Denied;
use crate::auth::revocations::Revocations;
use crate::auth::session::SessionKey;
use crate::auth::static_key::{Scope, StaticKey, StaticKeys, is_static};

/// Whether credentials are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nobody is asked for a credential.
    Off,
    /// Whoever asks or posts shows a credential.
    Required,
}

/// What a gate asks for.
#[derive(Debug, Clone, Copy)]
pub struct GateSettings {
    /// Whether whoever posts shows a credential.
    pub posting: Mode,
    /// Whether whoever asks the admin listener shows one.
    pub admin: Mode,
    /// Whether browser applications may post.
    pub are_apps_let_in: bool,
    /// How long after the first token of a family its tokens can be renewed. Unit: s.
    pub family_s_max: i64,
}

/// Tokens that are remembered, so that a terminal's signature is checked once and not with every batch. One takes
/// about 400 bytes. Unit: tokens.
const REMEMBERED_MAX: u64 = 50_000;

/// Who posts, known before a batch's rates and identity are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Nobody was asked for a credential: a batch is believed about its store and terminal.
    Anybody,
    /// The bearer of a token: a batch may repeat what the token says, and say nothing else.
    Bearer(Arc<Bearer>),
    /// A server with a static key: a batch is believed about its terminal, and about a store that the key names.
    Server(Arc<StaticKey>),
    /// A browser application: anybody who has read its key. Its page's origin is not judged yet.
    App(Arc<StaticKey>),
}

/// A token made of another one.
#[derive(Debug)]
pub struct Renewed {
    /// The token.
    pub token: String,
    /// From when on it is not valid any more, Unix ms.
    pub expires_at_ms: i64,
    /// Whose it is.
    pub bearer: Bearer,
}

/// The headers of a request that may bear a credential.
#[derive(Debug, Clone)]
pub struct Shown<A, K> {
    /// Every `Authorization`.
    pub authorization: A,
    /// Every `x-api-key`.
    pub api_key: K,
}

/// Lets in whoever shows a good credential.
pub struct Gate {
    settings: GateSettings,
    keys: ArcSwap<KeySet>,
    /// Signs the tokens that are made of others.
    signer: ArcSwapOption<SigningKey>,
    static_keys: ArcSwap<StaticKeys>,
    revocations: ArcSwap<Revocations>,
    /// Writes and reads sessions of the console.
    sessions: OnceLock<SessionKey>,
    /// Bearers of tokens whose signature was checked, by the digest of the token: no token stays in memory. Their
    /// times, and whether they were revoked, are judged each time.
    remembered: Cache<[u8; 32], Remembered, foldhash::quality::RandomState>,
    /// Whether a token named a key that is not known, since this was last asked.
    has_met_unknown_key: AtomicBool,
}

/// A token whose signature was checked.
#[derive(Clone)]
struct Remembered {
    bearer: Arc<Bearer>,
    /// The keys by which it was good.
    keys: Arc<KeySet>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        formatter
            .debug_struct("Gate")
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate that knows no key yet.
    #[must_use]
    pub fn new(settings: GateSettings) -> Self {
        Self {
            settings,
            keys: ArcSwap::default(),
            signer: ArcSwapOption::empty(),
            static_keys: ArcSwap::default(),
            revocations: ArcSwap::default(),
            sessions: OnceLock::new(),
            remembered: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .build_with_hasher(foldhash::quality::RandomState::default()),
            has_met_unknown_key: AtomicBool::new(false),
        }
    }

    /// What it asks for.
    #[must_use]
    pub fn settings(&self) -> GateSettings {
        self.settings
    }

    /// Takes other keys from now on, and the one that signs: tokens of a key that is gone are refused from the next request
    /// on.
    pub fn set_keys(&self, keys: KeySet, signer: Option<SigningKey>) {
        self.keys.store(Arc::new(keys));
        self.signer.store(signer.map(Arc::new));
    }

    /// Takes other static keys from now on.
    pub fn set_static_keys(&self, keys: StaticKeys) {
        self.static_keys.store(Arc::new(keys));
    }

    /// Takes other revocations from now on.
    pub fn set_revocations(&self, revocations: Revocations) {
        self.revocations.store(Arc::new(revocations));
    }

    /// Whether a token has named a key that is not known, since this was last asked.
    pub fn take_unknown_key(&self) -> bool {
        self.has_met_unknown_key.swap(false, Ordering::Relaxed)
    }

    /// Tells who posts with these headers. Without `now_ms` the clock cannot be trusted, and no token is too old or
    /// too young.
    ///
    /// # Errors
    /// Says why the request is refused.
    pub fn admit<'h>(
        &self,
        shown: Shown<impl Iterator<Item = &'h [u8]>, impl Iterator<Item = &'h [u8]>>,
        now_ms: Option<i64>,
    ) -> Result<Who, Denied> {
        if self.settings.posting == Mode::Off {
            return Ok(Who::Anybody);
        }
        match (only(shown.authorization)?, only(shown.api_key)?) {
            (Some(header), _) => {
                let text = bearer_text(header).ok_or(Denied::Header)?;
                self.admit_text(text, now_ms)
            }
            (None, Some(key)) => {
                let text = std::str::from_utf8(key).map_err(|_not_utf8| Denied::Header)?;
                self.server_or_app(text)
            }
            (None, None) => Err(Denied::NoCredential),
        }
    }

    /// Tells who posts with this credential, wherever it stood.
    ///
    /// # Errors
    /// Says why the request is refused.
    pub fn admit_text(&self, text: &str, now_ms: Option<i64>) -> Result<Who, Denied> {
        if is_static(text) {
            return self.server_or_app(text);
        }
        let bearer = self.bearer(text)?;
        self.judge(&bearer)?;
        if now_ms.is_some_and(|now_ms| now_ms >= bearer.until_ms) {
            return Err(Denied::Expired);
        }
        if now_ms.is_some_and(|now_ms| now_ms < bearer.from_ms) {
            return Err(Denied::NotYet);
        }
        Ok(Who::Bearer(bearer))
    }

    /// Lets in whoever may do this on the admin listener: by a key as bearer, or by basic authentication with the key's
    /// id as user and the key, or its secret, as password. `None`: nobody is asked.
    ///
    /// # Errors
    /// Says why the request is refused.
    pub fn admit_admin<'h>(
        &self,
        authorization: impl Iterator<Item = &'h [u8]>,
        scope: Scope,
    ) -> Result<Option<Arc<StaticKey>>, Denied> {
        if self.settings.admin == Mode::Off {
            return Ok(None);
        }
        let header = only(authorization)?.ok_or(Denied::NoCredential)?;
        let text = match bearer_text(header) {
            Some(text) => text.to_owned(),
            None => basic_text(header).ok_or(Denied::Header)?,
        };
        let keys = self.static_keys.load();
        let key = keys.find(&text).ok_or(Denied::UnknownStaticKey)?;
        if key.may(scope) {
            Ok(Some(Arc::clone(key)))
        } else {
            Err(Denied::Scope(scope))
        }
    }

    /// Takes the secret of the console's sessions, once.
    pub fn set_session_key(&self, key: SessionKey) {
        // A second one would end the sessions of the first.
        let _taken = self.sessions.set(key);
    }

    /// Writes the session of a key; `None`: there is no secret for it.
    #[must_use]
    pub fn session_of(&self, key: &StaticKey, until_s: i64) -> Option<String> {
        self.sessions.get()?.write(&key.id, until_s)
    }

    /// The key whose session this is, and until when; `None`: it is none, or over, or its key is gone.
    #[must_use]
    pub fn key_of_session(&self, session: &str, now_s: i64) -> Option<(Arc<StaticKey>, i64)> {
        let (id, until_s) = self.sessions.get()?.read(session, now_s)?;
        Some((Arc::clone(self.static_keys.load().of_id(id)?), until_s))
    }

    /// Makes the next token of the family of one that the collector has signed, also if that has ended by now.
    ///
    /// # Errors
    /// Says why there is no next one.
    pub fn renew<'h>(
        &self,
        authorization: impl Iterator<Item = &'h [u8]>,
        now_ms: i64,
        jti: String,
    ) -> Result<Renewed, Denied> {
        let header = only(authorization)?.ok_or(Denied::NoCredential)?;
        let text = bearer_text(header).ok_or(Denied::Header)?;
        let verified = self.keys.load().verify(text)?;
        if !verified.is_own {
            return Err(Denied::NotOurs);
        }
        let bearer = Bearer::new(&verified);
        self.judge(&bearer)?;
        if now_ms < bearer.from_ms {
            return Err(Denied::NotYet);
        }
        let signer = self.signer.load_full().ok_or(Denied::NoSigner)?;
        let claims = renew(
            &verified.claims,
            jti,
            now_ms.div_euclid(1_000),
            self.settings.family_s_max,
        )?;
        let token = signer.sign(&claims).map_err(|_failed| Denied::NoSigner)?;
        Ok(Renewed {
            token,
            expires_at_ms: claims.exp.saturating_mul(1_000),
            bearer,
        })
    }

    /// Refuses a token that was revoked.
    fn judge(&self, bearer: &Bearer) -> Result<(), Denied> {
        if self.revocations.load().end(bearer) {
            return Err(Denied::Revoked);
        }
        Ok(())
    }

    fn server_or_app(&self, text: &str) -> Result<Who, Denied> {
        let keys = self.static_keys.load();
        let key = keys.find(text).ok_or(Denied::UnknownStaticKey)?;
        if key.may(Scope::Post) {
            return Ok(Who::Server(Arc::clone(key)));
        }
        if !key.may(Scope::App) {
            return Err(Denied::Scope(Scope::Post));
        }
        if !self.settings.are_apps_let_in {
            return Err(Denied::NoApps);
        }
        Ok(Who::App(Arc::clone(key)))
    }

    fn bearer(&self, token: &str) -> Result<Arc<Bearer>, Denied> {
        let keys = self.keys.load();
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(remembered) = self.remembered.get(&digest)
            && Arc::ptr_eq(&remembered.keys, &keys)
        {
            return Ok(remembered.bearer);
        }
        let verified = keys.verify(token).inspect_err(|invalid| {
            if *invalid == Invalid::UnknownKey {
                self.has_met_unknown_key.store(true, Ordering::Relaxed);
            }
        })?;
        let bearer = Arc::new(Bearer::new(&verified));
        let remembered = Remembered {
            bearer: Arc::clone(&bearer),
            keys: Arc::clone(&keys),
        };
        self.remembered.insert(digest, remembered);
        Ok(bearer)
    }
}

/// The one value of a header; two contradict each other.
fn only<'h>(mut values: impl Iterator<Item = &'h [u8]>) -> Result<Option<&'h [u8]>, Denied> {
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Denied::Header),
    }
}

/// What follows a scheme in a header's value, if it is one word.
fn after_scheme<'h>(header: &'h [u8], expected: &str) -> Option<&'h str> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, word) = text.trim().split_once(' ')?;
    let word = word.trim();
    // One that is too long is for the key set to refuse.
    let is_one_word = !word.is_empty() && !word.contains(char::is_whitespace);
    (scheme.eq_ignore_ascii_case(expected) && is_one_word).then_some(word)
}

fn bearer_text(header: &[u8]) -> Option<&str> {
    after_scheme(header, "bearer")
}

/// The key that basic authentication names: user and password as `id:key` or `id:secret`.
fn basic_text(header: &[u8]) -> Option<String> {
    let decoded = STANDARD.decode(after_scheme(header, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, password) = text.split_once(':')?;
    if is_static(password) {
        return Some(password.to_owned());
    }
    Some(format!("tw_{id}_{password}"))
}

const _: () = assert!(
    TOKEN_BYTES_MAX < 16 * 1024,
    "a token fits the head of a request"
);

#[cfg(test)]
mod tests {
    use tillwatch_token::{AUDIENCE, Claims, Invalid, SigningKey};

    use super::*;

    const NOW_MS: i64 = 1_795_900_000_000;
    const REQUIRED: GateSettings = GateSettings {
        posting: Mode::Required,
        admin: Mode::Required,
        are_apps_let_in: false,
        family_s_max: 400 * 86_400,
    };

    fn gate(key: &SigningKey) -> Gate {
        let gate = Gate::new(REQUIRED);
        let mut keys = KeySet::default();
        keys.insert(key.kid().to_owned(), key.verifying().unwrap());
        gate.set_keys(keys, Some(key.clone()));
        gate
    }

    fn key(number: u8) -> SigningKey {
        SigningKey::new(format!("k{number}"), [number; 32], 0).unwrap()
    }

    /// A token that is valid from some seconds after now until some seconds after now.
    fn token(key: &SigningKey, from_s: i64, until_s: i64) -> String {
        let now_s = NOW_MS / 1_000;
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            store: "store-1".to_owned(),
            terminal: None,
            cohort: None,
            jti: "t".to_owned(),
            fam: None,
            iat: now_s - 100_000,
            auth_time: None,
            nbf: Some(now_s + from_s),
            exp: now_s + until_s,
        };
        key.sign(&claims).unwrap()
    }

    fn admit(
        gate: &Gate,
        headers: &[&str],
        now_ms: Option<i64>,
    ) -> Result<Option<Arc<Bearer>>, Denied> {
        let shown = Shown {
            authorization: headers.iter().map(|header| header.as_bytes()),
            api_key: std::iter::empty(),
        };
        Ok(match gate.admit(shown, now_ms)? {
            Who::Bearer(bearer) => Some(bearer),
            _ => None,
        })
    }

    #[test]
    fn a_bearer_is_let_in_while_the_token_is_valid() {
        let gate = gate(&key(1));
        let shown = |from_s, until_s, now_ms| {
            let header = format!("Bearer {}", token(&key(1), from_s, until_s));
            admit(&gate, &[&header], now_ms).map(|bearer| bearer.unwrap().store_id.clone())
        };
        assert_eq!(shown(-10, 10, Some(NOW_MS)).as_deref(), Ok("store-1"));
        assert_eq!(shown(-10, 0, Some(NOW_MS)), Err(Denied::Expired));
        assert_eq!(
            shown(59, 100, Some(NOW_MS)).as_deref(),
            Ok("store-1"),
            "within the leeway"
        );
        assert_eq!(shown(61, 100, Some(NOW_MS)), Err(Denied::NotYet));
        // Nothing is judged by a clock that may be wrong.
        assert_eq!(shown(-10, -5, None).as_deref(), Ok("store-1"));
        // A token that was good once is not good for ever.
        let header = format!("bearer  {}", token(&key(1), -10, 10));
        assert!(admit(&gate, &[&header], Some(NOW_MS)).is_ok());
        let later = Some(NOW_MS + 10_000);
        assert_eq!(admit(&gate, &[&header], later), Err(Denied::Expired));
    }

    #[test]
    fn whoever_shows_nothing_or_too_much_is_refused() {
        let gate = gate(&key(1));
        let good = format!("Bearer {}", token(&key(1), -10, 10));
        let cases: [(&[&str], Denied); 7] = [
            (&[], Denied::NoCredential),
            (&[&good, &good], Denied::Header),
            (&["Basic dXNlcjpwYXNz"], Denied::Header),
            (&["Bearer"], Denied::Header),
            (&["Bearer a b"], Denied::Header),
            (&["Bearer a.b.c"], Denied::Invalid(Invalid::Malformed)),
            (&[""], Denied::Header),
        ];
        for (headers, expected) in cases {
            assert_eq!(
                admit(&gate, headers, Some(NOW_MS)),
                Err(expected),
                "{headers:?}"
            );
        }
        let off = Gate::new(GateSettings {
            posting: Mode::Off,
            ..REQUIRED
        });
        assert_eq!(admit(&off, &[], Some(NOW_MS)), Ok(None));
    }

    #[test]
    fn a_revoked_token_is_refused_at_the_next_request_and_cannot_be_renewed() {
        let gate = gate(&key(1));
        let header = format!("Bearer {}", token(&key(1), -10, 10));
        let renew = || {
            let renewed = gate.renew(std::iter::once(header.as_bytes()), NOW_MS, "n".to_owned());
            renewed.map(|renewed| renewed.token)
        };
        assert!(admit(&gate, &[&header], Some(NOW_MS)).is_ok());
        let second = format!("Bearer {}", renew().unwrap());
        let revoked = crate::auth::revocations::Revocation {
            revoked: crate::auth::revocations::Revoked::Family("t".into()),
            before_ms: 0,
        };
        gate.set_revocations(Revocations::new([revoked]));
        for token in [&header, &second] {
            let refused = admit(&gate, &[token], Some(NOW_MS));
            assert_eq!(refused, Err(Denied::Revoked));
        }
        assert_eq!(renew().err(), Some(Denied::Revoked));
    }

    #[test]
    fn a_static_key_opens_what_its_scopes_name() {
        use crate::auth::static_key::Secret;
        let gate = gate(&key(1));
        let secret = |number| Secret::new([number; 6], [number; 32]);
        let with = |number: u8, scopes: &[Scope]| StaticKey {
            id: secret(number).id().into(),
            digest: secret(number).digest(),
            scopes: scopes.to_vec(),
            stores: None,
            name: "test".into(),
            created_at_ms: 0,
        };
        gate.set_static_keys(StaticKeys::new([
            with(1, &[Scope::Metrics]),
            with(2, &[Scope::Post]),
            with(3, &[Scope::App]),
        ]));
        let bearer = |number| format!("Bearer {}", secret(number).reveal());
        let admin = |header: &str, scope| {
            let admitted = gate.admit_admin(std::iter::once(header.as_bytes()), scope);
            admitted.map(|key| key.unwrap().id.to_string())
        };
        assert_eq!(
            admin(&bearer(1), Scope::Metrics).as_deref(),
            Ok("010101010101")
        );
        assert_eq!(
            admin(&bearer(1), Scope::Read),
            Err(Denied::Scope(Scope::Read))
        );
        assert_eq!(
            admin(&bearer(9), Scope::Read),
            Err(Denied::UnknownStaticKey)
        );
        let one = secret(1);
        let (user, password) = (one.id(), one.reveal());
        let short = password.rsplit('_').next().unwrap();
        for password in [password, short] {
            let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            assert!(admin(&basic, Scope::Metrics).is_ok());
        }
        let post = |header: Option<&str>, api_key: Option<&str>| {
            let shown = Shown {
                authorization: header.into_iter().map(str::as_bytes),
                api_key: api_key.into_iter().map(str::as_bytes),
            };
            gate.admit(shown, Some(NOW_MS))
        };
        assert!(matches!(post(Some(&bearer(2)), None), Ok(Who::Server(_))));
        assert_eq!(
            post(Some(&bearer(1)), None),
            Err(Denied::Scope(Scope::Post))
        );
        assert_eq!(post(None, Some(secret(3).reveal())), Err(Denied::NoApps));
        assert_eq!(post(None, Some("nonsense")), Err(Denied::UnknownStaticKey));
    }

    #[test]
    fn the_tokens_of_a_key_that_is_taken_away_are_refused_at_the_next_request() {
        let gate = gate(&key(1));
        let header = format!("Bearer {}", token(&key(1), -10, 10));
        assert!(admit(&gate, &[&header], Some(NOW_MS)).is_ok());
        gate.set_keys(KeySet::default(), None);
        let refused = admit(&gate, &[&header], Some(NOW_MS));
        assert_eq!(refused, Err(Denied::Invalid(Invalid::UnknownKey)));
    }
}
