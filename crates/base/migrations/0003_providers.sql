-- Sign-in by providers (OpenID Connect, OAuth 2). Times are Unix microseconds, UTC.

-- Providers that an Admin set up; those of the configuration are not stored.
CREATE TABLE providers (
  id TEXT PRIMARY KEY,
  -- Its place in addresses: /login/<name>.
  name TEXT NOT NULL,
  -- Everything but the secret, as JSON.
  settings TEXT NOT NULL,
  -- Sealed with `provider-secret:<id>` as context.
  secret TEXT,
  enabled BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX providers_name ON providers (name);

-- A person at a provider. The key is issuer and subject, never an address or a name (SEC-70).
CREATE TABLE identities (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  -- The provider's name when it was linked, for lists.
  provider TEXT NOT NULL,
  -- What the provider calls the person, for lists; it decides nothing.
  shown_as TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  last_used_at BIGINT
);
CREATE UNIQUE INDEX identities_issuer_subject ON identities (issuer, subject);
CREATE INDEX identities_user ON identities (user_id, created_at);

-- A trip to a provider and back (SEC-68).
CREATE TABLE oauth_states (
  -- SHA-256 of the state.
  state_hash TEXT PRIMARY KEY,
  -- SHA-256 of the cookie of the browser that went there.
  cookie_hash TEXT NOT NULL,
  provider TEXT NOT NULL,
  -- 'sign-in', 'link', 'step-up', 'test'
  purpose TEXT NOT NULL,
  -- Nonce and PKCE verifier, sealed with `oauth-state:<state hash>` as context.
  secrets TEXT NOT NULL,
  -- Who goes, where somebody is signed in.
  user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
  session_id TEXT,
  next_path TEXT,
  carry TEXT,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX oauth_states_expires ON oauth_states (expires_at);

-- An identity whose owner has yet to prove that a local account is theirs (SEC-71).
CREATE TABLE pending_links (
  token_hash TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  provider TEXT NOT NULL,
  shown_as TEXT NOT NULL,
  -- SHA-256 of the mailed token that proves the account instead of a sign-in.
  mail_hash TEXT,
  next_path TEXT,
  carry TEXT,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX pending_links_expires ON pending_links (expires_at);
CREATE INDEX pending_links_user ON pending_links (user_id);

-- What a challenge does once it is passed: link this identity.
ALTER TABLE challenges ADD COLUMN link_hash TEXT;
-- The provider stood for the second factor (SEC-73): a required one is not asked for in this session.
ALTER TABLE sessions ADD COLUMN stands BOOLEAN NOT NULL DEFAULT FALSE;

-- The provider whose word is all there is for the address, where it is not trusted for addresses: such an account
-- is as good as unconfirmed to whoever shows that the address is theirs (SEC-71, SEC-72).
ALTER TABLE users ADD COLUMN email_vouched_by TEXT;
