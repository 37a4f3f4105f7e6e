-- Second factors, recovery and step-up. Times are Unix microseconds, UTC.

-- A role may require a second factor: by `grace_days` after one got it, or after `second_factor_since` where that is later.
ALTER TABLE roles ADD COLUMN second_factor_required BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE roles ADD COLUMN second_factor_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE roles ADD COLUMN grace_days BIGINT NOT NULL DEFAULT 7;
-- Where people are at work already, their grace begins with the last one seen before this version.
UPDATE roles SET second_factor_required = TRUE,
  second_factor_since = (SELECT COALESCE(MAX(last_seen_at), 0) FROM users)
WHERE id = '1';

-- Consecutive wrong second factors over all challenges, and until when the account waits (SEC-36).
ALTER TABLE users ADD COLUMN factor_failures BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN factor_locked_until BIGINT;
-- Since when codes by e-mail are a second factor of the account; NULL while they are not.
ALTER TABLE users ADD COLUMN email_codes_since BIGINT;
ALTER TABLE users ADD COLUMN email_codes_used_at BIGINT;
ALTER TABLE users ADD COLUMN password_changed_at BIGINT;

-- A challenge that can only enrol (SEC-35), and where its person wanted to go.
ALTER TABLE challenges ADD COLUMN enrol BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE challenges ADD COLUMN next_path TEXT;
ALTER TABLE challenges ADD COLUMN carry TEXT;
-- Failed sign-ins before the right password (SEC-32).
ALTER TABLE challenges ADD COLUMN failures_before BIGINT NOT NULL DEFAULT 0;
CREATE INDEX challenges_user ON challenges (user_id);

CREATE TABLE totp_factors (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- Sealed with `totp:<user>:<id>` as context (SEC-46).
  secret TEXT NOT NULL,
  -- The session or challenge that began it, while it is pending: nobody else sees or confirms it.
  holder TEXT,
  created_at BIGINT NOT NULL,
  -- NULL while pending (SEC-44).
  confirmed_at BIGINT,
  -- A pending one goes at this time.
  expires_at BIGINT,
  -- The newest step that was used (SEC-42).
  last_step BIGINT NOT NULL DEFAULT 0,
  last_used_at BIGINT
);
CREATE UNIQUE INDEX totp_factors_active ON totp_factors (user_id) WHERE confirmed_at IS NOT NULL;
CREATE UNIQUE INDEX totp_factors_pending ON totp_factors (user_id) WHERE confirmed_at IS NULL;
CREATE INDEX totp_factors_expires ON totp_factors (expires_at);

CREATE TABLE backup_code_sets (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  salt TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX backup_code_sets_user ON backup_code_sets (user_id);

CREATE TABLE backup_codes (
  set_id TEXT NOT NULL REFERENCES backup_code_sets (id) ON DELETE CASCADE,
  -- SHA-256 of salt and code (SEC-51).
  hash TEXT NOT NULL,
  used_at BIGINT,
  PRIMARY KEY (set_id, hash)
);

-- A code by e-mail, bound to the challenge or session that asked for it (SEC-48).
CREATE TABLE email_codes (
  holder TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  mac TEXT NOT NULL,
  -- Wrong tries, also over codes sent anew (SEC-49).
  attempts BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX email_codes_user ON email_codes (user_id);
CREATE INDEX email_codes_expires ON email_codes (expires_at);

CREATE TABLE passkeys (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- The authenticator's name for it, base64url.
  credential_id TEXT NOT NULL,
  -- The public key and its state as JSON; no secret.
  credential TEXT NOT NULL,
  -- Whether the authenticator proved who holds it (SEC-54): only then it signs in without a password.
  user_verified BOOLEAN NOT NULL,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  last_used_at BIGINT
);
CREATE UNIQUE INDEX passkeys_credential ON passkeys (credential_id);
CREATE INDEX passkeys_user ON passkeys (user_id, created_at);

-- What the server remembers between the two halves of a passkey's ceremony (SEC-53).
CREATE TABLE passkey_ceremonies (
  id TEXT PRIMARY KEY,
  purpose TEXT NOT NULL,
  -- The session, the challenge or the visitor that it belongs to.
  holder TEXT NOT NULL,
  state TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX passkey_ceremonies_holder ON passkey_ceremonies (holder, purpose);
CREATE INDEX passkey_ceremonies_expires ON passkey_ceremonies (expires_at);

-- Browsers that an account was used with, by a long-lived cookie; they are told apart, not trusted (SEC-32).
CREATE TABLE known_devices (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  token_hash TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  first_seen_at BIGINT NOT NULL,
  last_seen_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, token_hash)
);

-- Asked-for password resets, resolved by the mail worker: asking costs the same for every address (SEC-62).
CREATE TABLE reset_requests (
  id TEXT PRIMARY KEY,
  email_canonical TEXT NOT NULL,
  ip TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX reset_requests_created ON reset_requests (created_at);
