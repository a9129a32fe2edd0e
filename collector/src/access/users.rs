//! People: local users with argon2 hashes, and the cookie of a login. Logins live in memory: a restart ends them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::attempts::Attempts;
use super::{Person, Role, random};

/// Logins that are remembered; the one used least recently goes.
const LOGINS_MAX: usize = 1_000;
/// A login ends when it was not used for so long, and anyway after a week.
const IDLE_MAX: Duration = Duration::from_secs(24 * 3_600);
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Passwords that are checked at once: each takes 19 MiB.
const CHECKS_MAX: usize = 2;
/// Bytes of a name or password that are looked at.
pub(crate) const SECRET_BYTES_MAX: usize = 1_024;
const SALT_BYTES: usize = 16;

/// A configured user.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) name: String,
    /// As `blocksift-collector password` prints it.
    pub(crate) password_hash: String,
    pub(crate) role: Role,
}

struct Login {
    name: String,
    role: Role,
    csrf: String,
    began: Instant,
    used: Instant,
}

/// Everybody who may log in, and who has.
pub(crate) struct Users {
    users: HashMap<String, User>,
    /// Whether the cookie is for TLS only.
    secure: bool,
    /// Who everybody is where there are no users.
    nobody: Person,
    /// Checked for names that nobody has, so that the time does not tell them.
    decoy: String,
    logins: Mutex<HashMap<blake3::Hash, Login>>,
    attempts: Mutex<Attempts>,
    checks: Semaphore,
}

/// Why somebody is not logged in.
pub(crate) enum Refused {
    /// The name or the password is wrong.
    Wrong,
    /// Too many failed; after so long another try is made.
    Wait(Duration),
    /// No random bytes, or no hash: not the user's fault.
    Failed,
}

impl Users {
    /// Nobody logged in yet; `secure` with TLS.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub(crate) fn new(users: Vec<User>, secure: bool) -> Result<Self, getrandom::Error> {
        let nobody =
            Person { name: String::new(), role: Role::Operate, csrf: random::token()?, by_proxy: false };
        let decoy =
            if users.is_empty() { String::new() } else { hash(&random::token()?).unwrap_or_default() };
        Ok(Self {
            users: users.into_iter().map(|user| (user.name.clone(), user)).collect(),
            secure,
            nobody,
            decoy,
            logins: Mutex::default(),
            attempts: Mutex::default(),
            checks: Semaphore::new(CHECKS_MAX),
        })
    }

    /// Whether there are no users.
    pub(crate) fn open(&self) -> bool {
        self.users.is_empty()
    }

    /// Who makes a request, by its cookie.
    pub(crate) fn person(&self, headers: &HeaderMap) -> Option<Person> {
        if self.open() {
            return Some(self.nobody.clone());
        }
        let token = self.cookie(headers)?;
        let now = Instant::now();
        let mut logins = lock(&self.logins);
        let login = logins.get_mut(&random::hash(token.as_bytes()))?;
        if now.saturating_duration_since(login.used) > IDLE_MAX
            || now.saturating_duration_since(login.began) > AGE_MAX
        {
            return None;
        }
        login.used = now;
        Some(Person { name: login.name.clone(), role: login.role, csrf: login.csrf.clone(), by_proxy: false })
    }

    /// Checks name and password; returns the value of a `Set-Cookie`.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) async fn log_in(&self, name: &str, password: &str, peer: IpAddr) -> Result<String, Refused> {
        let keys = vec![format!("name {name}"), format!("peer {peer}")];
        if let Some(wait) = lock(&self.attempts).wait(&keys, Instant::now()) {
            return Err(Refused::Wait(wait));
        }
        let _permit = self.checks.acquire().await.map_err(|_| Refused::Failed)?;
        let user = self.users.get(name).filter(|_| password.len() <= SECRET_BYTES_MAX);
        let expected = user.map_or_else(|| self.decoy.clone(), |user| user.password_hash.clone());
        let password = password.as_bytes().to_vec();
        let right = tokio::task::spawn_blocking(move || verify(&password, &expected)).await;
        let Some(user) = user.filter(|_| right.is_ok_and(|right| right)) else {
            lock(&self.attempts).failed(keys, Instant::now());
            return Err(Refused::Wrong);
        };
        keys.iter().for_each(|key| lock(&self.attempts).succeeded(key));
        self.begin(user).map_err(|_| Refused::Failed)
    }

    fn begin(&self, user: &User) -> Result<String, getrandom::Error> {
        let (token, csrf) = (random::token()?, random::token()?);
        let now = Instant::now();
        let login = Login { name: user.name.clone(), role: user.role, csrf, began: now, used: now };
        let mut logins = lock(&self.logins);
        if logins.len() >= LOGINS_MAX {
            let oldest = logins.iter().min_by_key(|(_, login)| login.used).map(|(key, _)| *key);
            oldest.and_then(|key| logins.remove(&key));
        }
        logins.insert(random::hash(token.as_bytes()), login);
        let secure = if self.secure { "; Secure" } else { "" };
        let age_s = AGE_MAX.as_secs();
        Ok(format!(
            "{}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age_s}{secure}",
            self.cookie_name()
        ))
    }

    /// Ends the login of a request.
    pub(crate) fn log_out(&self, headers: &HeaderMap) -> String {
        if let Some(token) = self.cookie(headers) {
            lock(&self.logins).remove(&random::hash(token.as_bytes()));
        }
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secure}", self.cookie_name())
    }

    /// With TLS a name that only this host, and only over TLS, can set.
    fn cookie_name(&self) -> &'static str {
        if self.secure { "__Host-blocksift" } else { "blocksift" }
    }

    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(name, value)| (name == self.cookie_name()).then_some(value))
    }
}

/// The hash of a password as the configuration holds it.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn hash(password: &str) -> anyhow::Result<String> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| anyhow::anyhow!("no salt: {error}"))?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|error| anyhow::anyhow!("no hash: {error}"))?.to_string())
}

/// Whether a text is a hash that [`hash`] makes.
pub(crate) fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str() == "argon2id" && hash.hash.is_some())
}

fn verify(password: &[u8], expected: &str) -> bool {
    PasswordHash::new(expected).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

/// A lock whose holder panicked is still whole: each holder makes one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn users(secure: bool) -> Users {
        let password_hash = hash("correct horse").unwrap();
        assert!(is_hash(&password_hash) && !is_hash("correct horse"));
        let user = User { name: "eve".to_owned(), password_hash, role: Role::View };
        Users::new(vec![user], secure).unwrap()
    }

    fn cookie(set: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            header::COOKIE,
            format!("a=b; {}", set.split(';').next().unwrap()).parse().unwrap(),
        )])
    }

    #[tokio::test]
    async fn a_login_lasts_until_its_end() {
        let users = users(true);
        assert!(users.person(&HeaderMap::new()).is_none());
        let set = users.log_in("eve", "correct horse", PEER).await.ok().unwrap();
        assert!(
            set.starts_with("__Host-blocksift=")
                && set.contains("HttpOnly; SameSite=Strict")
                && set.ends_with("; Secure")
        );
        let headers = cookie(&set);
        let person = users.person(&headers).unwrap();
        assert_eq!((person.name.as_str(), person.role), ("eve", Role::View));
        users.log_out(&headers);
        assert!(users.person(&headers).is_none());
    }

    #[tokio::test]
    async fn wrong_passwords_and_names_are_refused_alike_and_soon_wait() {
        let users = users(false);
        for (name, password) in [("eve", "wrong"), ("adam", "correct horse"), ("eve", "")] {
            assert!(matches!(users.log_in(name, password, PEER).await, Err(Refused::Wrong)));
        }
        for _ in 0..2 {
            assert!(matches!(users.log_in("eve", "wrong", PEER).await, Err(Refused::Wrong)));
        }
        assert!(matches!(users.log_in("eve", "correct horse", PEER).await, Err(Refused::Wait(_))));
    }

    #[test]
    fn without_users_everybody_operates() {
        let users = Users::new(Vec::new(), false).unwrap();
        assert_eq!(users.person(&HeaderMap::new()).unwrap().role, Role::Operate);
    }
}
