//! What the server remembers between the halves of a ceremony (SEC-53).

use base::db::DbError;
use base::{Tx, args, sql};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{CEREMONY_LIFETIME, CheckPurpose, PasskeyError, corrupt};
use crate::Accounts;

/// What a ceremony is for: one that was begun for something else does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Register,
    SecondFactor,
    StepUp,
    Passwordless,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::SecondFactor => "second_factor",
            Self::StepUp => "step_up",
            Self::Passwordless => "passwordless",
        }
    }

    /// Ceremonies of one holder that stay beside a new one. Sign-in pages in several tabs share
    /// their holder, and each of them waits from the moment it is open.
    fn kept(self) -> i64 {
        match self {
            Self::Passwordless => 3,
            Self::Register | Self::SecondFactor | Self::StepUp => 0,
        }
    }
}

impl From<CheckPurpose> for Purpose {
    fn from(purpose: CheckPurpose) -> Self {
        match purpose {
            CheckPurpose::SecondFactor => Self::SecondFactor,
            CheckPurpose::StepUp => Self::StepUp,
        }
    }
}

impl Accounts {
    /// Remembers a ceremony in place of its holder's older ones; gives its id.
    pub(super) async fn open_ceremony(
        &self,
        purpose: Purpose,
        holder: &str,
        state: &impl Serialize,
    ) -> Result<String, PasskeyError> {
        let state = serde_json::to_string(state).map_err(|e| corrupt("passkey_ceremonies.state", e))?;
        let now = self.clock.now();
        let id = self.random.id(now);
        let mut tx = self.db.begin().await?;
        tx.run(
            sql!(
                "DELETE FROM passkey_ceremonies WHERE holder = $1 AND purpose = $2 AND id NOT IN
                   (SELECT id FROM passkey_ceremonies WHERE holder = $1 AND purpose = $2
                    ORDER BY created_at DESC, id DESC LIMIT $3)"
            ),
            args![holder, purpose.name(), purpose.kept()],
        )
        .await?;
        tx.run(
            sql!(
                "INSERT INTO passkey_ceremonies (id, purpose, holder, state, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6)"
            ),
            args![&id, purpose.name(), holder, &state, now, now + CEREMONY_LIFETIME],
        )
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Takes a ceremony out: whoever comes second finds none.
    pub(super) async fn take_ceremony<T: DeserializeOwned>(
        &self,
        tx: &mut Tx,
        purpose: Purpose,
        holder: &str,
        id: &str,
    ) -> Result<T, PasskeyError> {
        let taken: Option<(String, i64)> = tx
            .one(
                sql!(
                    "DELETE FROM passkey_ceremonies WHERE id = $1 AND purpose = $2 AND holder = $3
                     RETURNING state, expires_at"
                ),
                args![id, purpose.name(), holder],
            )
            .await?;
        match taken {
            Some((state, expires_at)) if expires_at > self.clock.now() => {
                serde_json::from_str(&state).map_err(|e| corrupt("passkey_ceremonies.state", e))
            }
            _ => Err(PasskeyError::Expired),
        }
    }
}

/// The options with the ceremony's id beside them.
pub(super) fn with_ceremony(options: &impl Serialize, id: String) -> Result<Value, PasskeyError> {
    let mut answer = match serde_json::to_value(options) {
        Ok(Value::Object(answer)) => answer,
        Ok(_) => Map::new(),
        Err(error) => return Err(PasskeyError::Db(DbError::Other(error.to_string()))),
    };
    answer.insert("ceremony".into(), Value::String(id));
    Ok(Value::Object(answer))
}
