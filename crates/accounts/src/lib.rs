//! Who you are: users, passwords, sessions, roles, settings, and the mail that tells about them.
//!
//! The crate owns its tables and knows nothing of HTTP. Everything hangs on [`Accounts`].

mod devices;
pub mod errors;
pub mod factors;
pub mod gate;
pub mod identifier;
pub mod identities;
mod key_check;
pub mod notices;
pub mod outbox;
pub mod passkeys;
pub mod password;
pub mod people;
pub mod permission;
mod principal;
pub mod recovery;
pub mod sessions;
pub mod settings;
pub mod sign_in;
pub mod sign_up;
pub mod step_up;
pub mod sweep;
#[cfg(test)]
mod testing;
pub mod throttle;
pub mod tokens;
pub mod user;
mod words;

use std::num::NonZero;
use std::sync::Arc;

use base::{Clock, DAY, Db, HOUR, KeyRing, Micros, Random};
use parking_lot::RwLock;
use tokio::sync::{Notify, broadcast};

pub use errors::{ErrorGroup, ErrorReport};
pub use factors::{
    BackupCodes, ChangeRefused, CodeSent, FactorAdded, FactorRefused, Factors, PendingTotp, Proof, Standing,
};
pub use gate::{
    Challenge, ChallengeToken, ChangeOrRefused, DeviceToken, Enrolled, Entered, FirstFactor, LinkToken,
    NewChallenge, Onward, Outcome, SecondFactor, SessionToken, TripToken,
};
pub use identifier::{Email, Identifier, Username};
pub use identities::{
    ArriveError, Arrived, Decision, FinishedTrip, Identity, LinkEnd, LinkError, LiveProvider, NewTrip,
    PendingLink, Preview, ProviderRules, RoleClaim, Stands, StoreError, StoredProvider, TripPurpose,
    TripSecrets, Vouched,
};
pub use notices::{Circumstances, Notice, Notices};
pub use outbox::{ClaimedMail, Mail, MailTrouble};
pub use passkeys::{
    CheckPurpose, MAX_PASSKEYS, PasskeyError, PasskeyKind, PasskeyRow, PasskeyUse, PasskeyUser,
};
pub use password::{Busy, HashParams, Hasher, Policy};
pub use people::{
    Actor, Changed, Counts, Cursor, FactorGlance, People, PeopleError, Person, RoleChanged, RoleRow,
};
pub use permission::{Permission, Permissions};
pub use principal::{Principal, SessionInfo};
pub use recovery::{RecoveryError, Resolved};
pub use sessions::{Ended, NewSession, SessionRow};
pub use settings::{General, SecondFactorRules, Settings, SignUp, SignUpMode};
pub use sign_in::{Lock, Refused};
pub use sign_up::{CheckError, Checked, Created, FieldErrors, NewAccount, Pending, Prepared, SignUpError};
pub use step_up::{StepUpProof, StepUpWays};
pub use throttle::{Client, Limit, Limited, Limits, Rate, ThrottleError};
pub use tokens::{Confirmed, Purpose, SetUpError, TokenInfo};
pub use user::{ROLE_ADMIN, ROLE_USER, User};

/// What the configuration decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// Least length of a new password in code points; 12, in the strict profile 15, never
    /// below 8 (SEC-13).
    pub password_min: usize,
    /// Entries that the operator adds to the block list.
    pub block_list: Vec<String>,
    /// The host of the public URL: a word that passwords must not be made of.
    pub public_host: String,
    /// 256 bits that are not in the database (SEC-20).
    pub pepper: Option<[u8; 32]>,
    /// The cost of new hashes. Below the default only in tests (SEC-18).
    pub hash_params: HashParams,
    /// Hashes at once; `None` is half the cores (SEC-19).
    pub hash_threads: Option<usize>,
    /// Callers that may wait for a hash.
    pub hash_queue: usize,
    /// A session ends when unseen for so long (SEC-79), in microseconds.
    pub session_idle: Micros,
    /// A session ends so long after it began, in microseconds.
    pub session_absolute: Micros,
    pub limits: Limits,
    /// The settings until an Admin saves their own.
    pub settings: Settings,
    /// Addresses are always confirmed, whatever an Admin sets (SEC-11, production profile).
    pub verification_forced: bool,
    /// What mails say.
    pub notices: Arc<dyn Notices>,
    /// Where passkeys belong; `None` where the public URL's host is an IP address (SEC-53).
    pub relying_party: Option<RelyingParty>,
}

/// The site as passkeys know it (WebAuthn Level 3, 4): from the configuration only (SEC-53).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// The host of the public URL.
    pub id: String,
    /// The public URL's origin.
    pub origin: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            password_min: password::policy::DEFAULT_MIN,
            block_list: Vec::new(),
            public_host: String::new(),
            pepper: None,
            hash_params: HashParams::default(),
            hash_threads: None,
            hash_queue: 32,
            session_idle: 12 * HOUR,
            session_absolute: 14 * DAY,
            limits: Limits::default(),
            settings: Settings {
                general: General { site_name: "Anteroom".into(), default_model: None },
                sign_up: SignUp::default(),
                second_factor: SecondFactorRules::default(),
            },
            verification_forced: false,
            notices: Arc::new(notices::Plain),
            relying_party: None,
        }
    }
}

/// The crate's one value: built once by the application, cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {
    pub db: Db,
    pub clock: Clock,
    pub random: Random,
    pub ring: KeyRing,
    pub hasher: Hasher,
    pub policy: Arc<Policy>,
    limits: Arc<Limits>,
    session_idle: Micros,
    session_absolute: Micros,
    verification_forced: bool,
    defaults: Arc<Settings>,
    settings: Arc<RwLock<Arc<Settings>>>,
    seen: sessions::Seen,
    live_providers: Arc<RwLock<Arc<[LiveProvider]>>>,
    ended: broadcast::Sender<Ended>,
    notices: Arc<dyn Notices>,
    relying_party: Option<RelyingParty>,
    /// Wakes the worker that sends mail.
    pub outbox: Arc<Notify>,
}

impl Accounts {
    /// Reads nothing yet: call [`Accounts::reload_settings`] before serving.
    pub fn new(db: Db, clock: Clock, random: Random, ring: KeyRing, options: Options) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = options.hash_threads.unwrap_or_else(|| (cores / 2).max(1));
        let hasher =
            Hasher::new(random.clone(), options.hash_params, options.pepper, threads, options.hash_queue);
        let policy =
            Policy::new(options.password_min, &["Anteroom", &options.public_host], &options.block_list);
        let mut settings = options.settings.clone();
        settings.sign_up.verification_required |= options.verification_forced;
        Self {
            db,
            clock,
            random,
            ring,
            hasher,
            policy: Arc::new(policy),
            limits: Arc::new(options.limits),
            session_idle: options.session_idle,
            session_absolute: options.session_absolute,
            verification_forced: options.verification_forced,
            defaults: Arc::new(options.settings),
            settings: Arc::new(RwLock::new(Arc::new(settings))),
            seen: sessions::Seen::default(),
            live_providers: Arc::new(RwLock::new(Arc::from([]))),
            ended: broadcast::channel(256).0,
            notices: options.notices,
            relying_party: options.relying_party,
            outbox: Arc::new(Notify::new()),
        }
    }
}
