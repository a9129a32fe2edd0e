//! `new-key`, `sign` and `verify`: signatures of models in the format of minisign, within the model file, so that a signed
//! model is rolled out and back as one file. Keys are minisign's own, so that its program can make them, too.

use std::fs::{self, File};
use std::io::{Cursor, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blocksift_detector::signature;
use jiff::Timestamp;
use minisign::{KeyPair, PublicKey, PublicKeyBox, SecretKey, SecretKeyBox, SignatureBox};

use crate::inspect;

/// Arguments of `new-key`.
#[derive(Debug, clap::Args)]
pub(crate) struct NewKey {
    /// File for the secret key, which never leaves the machine that signs; the public one goes beside it, with .pub
    secret: PathBuf,
    #[command(flatten)]
    password: Password,
}

/// Arguments of `sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// Model file (.onnx); its signature is put into it
    model: PathBuf,
    /// File with the secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File to write instead
    #[arg(long, short = 'o')]
    out: Option<PathBuf>,
    #[command(flatten)]
    password: Password,
}

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Model file (.onnx)
    model: PathBuf,
    /// Public key: a .pub file, or its second line
    #[arg(long, value_name = "FILE|KEY")]
    key: String,
}

/// Where the password of the secret key comes from; asked for on the terminal if nothing says so.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Password {
    /// File with the password, its first line
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The secret key has no password
    #[arg(long)]
    no_password: bool,
}

impl Password {
    /// `None` asks on the terminal.
    fn read(&self) -> Result<Option<String>> {
        let Some(path) = &self.password_file else { return Ok(None) };
        let text = fs::read_to_string(path)
            .with_context(|| format!("password {} cannot be read", path.display()))?;
        Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
    }
}

/// Makes a pair of keys.
///
/// # Errors
/// If a file is there already, or cannot be written.
pub(crate) fn new_key(args: &NewKey) -> Result<()> {
    let public = PathBuf::from(format!("{}.pub", args.secret.display()));
    for path in [&args.secret, &public] {
        if path.exists() {
            bail!(
                "{} is there already; models that it has signed would be refused with a new one",
                path.display()
            );
        }
    }
    let pair = match args.password.no_password {
        true => KeyPair::generate_unencrypted_keypair(),
        false => KeyPair::generate_encrypted_keypair(args.password.read()?),
    };
    let pair = pair.context("no keys could be made")?;
    let secret = pair.sk.to_box(Some("blocksift model signing key"))?.into_string();
    // Readable by its owner alone from the first moment on.
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.secret)
        .with_context(|| format!("{} cannot be written", args.secret.display()))?;
    file.write_all(secret.as_bytes())?;
    crate::write(&public, pair.pk.to_box()?.into_string().as_bytes())?;
    crate::print(&format!(
        "{} is the secret key, {} the public one; agents take what it signs with\nmodel_signed_by = [\"{}\"]",
        args.secret.display(),
        public.display(),
        pair.pk.to_base64()
    ));
    Ok(())
}

/// Signs a model.
///
/// # Errors
/// If it is no model, or the key cannot be used.
pub(crate) fn sign(args: &Sign) -> Result<()> {
    // What agents could not use anyway is not signed.
    let (model, file) = inspect::model(&args.model)?;
    let key = secret_key(&args.key, &args.password)?;
    let (content, _) = signature::split(&file);
    let comment = format!("model {}, signed {}", model.id, Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"));
    let signed = minisign::sign(None, &key, Cursor::new(content), Some(&comment), Some("blocksift model"))
        .context("the model cannot be signed")?;
    let out = args.out.as_ref().unwrap_or(&args.model);
    crate::write(out, &signature::join(content, &signed.into_string()))?;
    crate::print(&format!("{}: signed, {}", out.display(), model.id));
    Ok(())
}

fn secret_key(path: &Path, password: &Password) -> Result<SecretKey> {
    let text =
        fs::read_to_string(path).with_context(|| format!("secret key {} cannot be read", path.display()))?;
    let key = SecretKeyBox::from_string(&text).and_then(|key| match password.no_password {
        true => key.into_unencrypted_secret_key(),
        false => key.into_secret_key(password.read().unwrap_or_default()),
    });
    key.with_context(|| format!("secret key {} cannot be used", path.display()))
}

/// Tells whether a model was signed with a key.
///
/// # Errors
/// If it was not.
pub(crate) fn verify(args: &Verify) -> Result<()> {
    let key = public_key(&args.key)?;
    let shown = args.model.display();
    let file = fs::read(&args.model).with_context(|| format!("model {shown} cannot be read"))?;
    let (content, signature) = signature::split(&file);
    let signature = signature.with_context(|| format!("model {shown} is not signed"))?;
    let signature = SignatureBox::from_string(signature)
        .with_context(|| format!("the signature in model {shown} is none of minisign's"))?;
    minisign::verify(&key, &signature, Cursor::new(content), true, false, false)
        .with_context(|| format!("model {shown} is not what this key has signed"))?;
    // Part of what was signed.
    crate::print(&format!("{shown}: {}", signature.trusted_comment()?));
    Ok(())
}

fn public_key(given: &str) -> Result<PublicKey> {
    let key = match fs::read_to_string(given) {
        Ok(text) => PublicKeyBox::from_string(&text).and_then(PublicKeyBox::into_public_key),
        Err(_) => PublicKey::from_base64(given),
    };
    key.with_context(|| format!("{given} is neither a .pub file nor a public key of minisign"))
}
