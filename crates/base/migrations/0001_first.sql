-- The first schema. Times are Unix microseconds, UTC; ids are UUIDv7 unless said otherwise.

-- Portable helpers: both engines know json_each(list).value and json_extract(text, '$.key').
-- only: postgres
CREATE FUNCTION json_each(document TEXT) RETURNS TABLE (key BIGINT, value TEXT) LANGUAGE sql IMMUTABLE STRICT AS
  'SELECT (element.ordinality - 1)::bigint, element.item FROM jsonb_array_elements_text(document::jsonb) WITH ORDINALITY AS element(item, ordinality)';
CREATE FUNCTION json_extract(document TEXT, path TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT AS
  'SELECT document::jsonb #>> string_to_array(substr(path, 3), ''.'')';

-- Rows whose UPDATE is a lock.
CREATE TABLE locks (
  name TEXT PRIMARY KEY,
  taken BIGINT NOT NULL
);
INSERT INTO locks (name, taken) VALUES ('admins', 0), ('setup', 0), ('upstreams', 0), ('rankings', 0);

-- ── accounts ──

CREATE TABLE users (
  id TEXT PRIMARY KEY,
  username TEXT NOT NULL,
  username_canonical TEXT NOT NULL,
  -- NULL while a name is only reserved (SEC-11).
  email TEXT,
  email_canonical TEXT,
  email_verified_at BIGINT,
  first_name TEXT NOT NULL,
  last_name TEXT NOT NULL,
  -- PHC string or a foreign hash; NULL for accounts without a password.
  password TEXT,
  locale TEXT,
  created_at BIGINT NOT NULL,
  last_seen_at BIGINT,
  last_sign_in_at BIGINT,
  deactivated_at BIGINT,
  -- An unverified sign-up goes at this time (SEC-11).
  expires_at BIGINT,
  -- Consecutive failed sign-ins, and until when the account waits (SEC-28).
  failures BIGINT NOT NULL DEFAULT 0,
  locked_until BIGINT,
  -- Lower-case name, username and e-mail for the search of /admin/users.
  search TEXT NOT NULL
);
CREATE UNIQUE INDEX users_username_canonical ON users (username_canonical);
CREATE UNIQUE INDEX users_email_canonical ON users (email_canonical);
CREATE INDEX users_last_seen ON users (last_seen_at);
CREATE INDEX users_expires ON users (expires_at);

CREATE TABLE roles (
  -- '1' is Admin, '2' is User; later ones are UUIDs.
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  name_canonical TEXT NOT NULL,
  built_in BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX roles_name_canonical ON roles (name_canonical);
INSERT INTO roles (id, name, name_canonical, built_in, created_at) VALUES
  ('1', 'Admin', 'admin', TRUE, 0), ('2', 'User', 'user', TRUE, 0);

CREATE TABLE role_permissions (
  role_id TEXT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
  permission TEXT NOT NULL,
  PRIMARY KEY (role_id, permission)
);
INSERT INTO role_permissions (role_id, permission) VALUES
  ('1', 'chat.use'), ('1', 'api_keys.use'), ('1', 'users.read'), ('1', 'users.manage'), ('1', 'users.reset_factors'),
  ('1', 'roles.manage'), ('1', 'invites.manage'), ('1', 'models.manage'), ('1', 'stats.read'), ('1', 'budgets.manage'),
  ('1', 'audit.read'), ('1', 'errors.read'), ('1', 'settings.manage'),
  ('2', 'chat.use'), ('2', 'api_keys.use');

CREATE TABLE user_roles (
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  role_id TEXT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
  granted_at BIGINT NOT NULL,
  granted_by TEXT,
  PRIMARY KEY (user_id, role_id)
);
CREATE INDEX user_roles_role ON user_roles (role_id);

CREATE TABLE sessions (
  -- The id is for lists and logs; the token stands only as its SHA-256 (SEC-77).
  id TEXT PRIMARY KEY,
  token_hash TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- The forms' token is derived from this one, which survives a step-up (SEC-78).
  csrf_secret TEXT NOT NULL,
  method TEXT NOT NULL,
  ip TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  last_seen_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  step_up_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX sessions_token_hash ON sessions (token_hash);
CREATE INDEX sessions_user ON sessions (user_id, last_seen_at);
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE challenges (
  id TEXT PRIMARY KEY,
  token_hash TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  method TEXT NOT NULL,
  ip TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  consumed_at BIGINT
);
CREATE UNIQUE INDEX challenges_token_hash ON challenges (token_hash);
CREATE INDEX challenges_expires ON challenges (expires_at);

CREATE TABLE one_time_tokens (
  token_hash TEXT PRIMARY KEY,
  purpose TEXT NOT NULL,
  user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
  email_canonical TEXT,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at BIGINT
);
CREATE INDEX one_time_tokens_user ON one_time_tokens (user_id, purpose);
CREATE INDEX one_time_tokens_expires ON one_time_tokens (expires_at);

-- Counters that all replicas share (SEC-31); a key is `<limit>:<HMAC of the subject>`.
CREATE TABLE throttles (
  key TEXT PRIMARY KEY,
  count BIGINT NOT NULL,
  window_ends_at BIGINT NOT NULL
);
CREATE INDEX throttles_ends ON throttles (window_ends_at);

CREATE TABLE settings (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  updated_by TEXT
);

CREATE TABLE mail_outbox (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  recipient TEXT NOT NULL,
  subject TEXT NOT NULL,
  body_text TEXT NOT NULL,
  body_html TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  next_attempt_at BIGINT NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  claimed_until BIGINT,
  last_error TEXT,
  sent_at BIGINT
);
CREATE INDEX mail_outbox_due ON mail_outbox (sent_at, next_attempt_at);

CREATE TABLE error_groups (
  -- SHA-256 of kind and cause with the changing parts taken out.
  fingerprint TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  title TEXT NOT NULL,
  cause TEXT NOT NULL,
  subject TEXT,
  request_id TEXT,
  user_id TEXT,
  count BIGINT NOT NULL,
  first_seen_at BIGINT NOT NULL,
  last_seen_at BIGINT NOT NULL
);
CREATE INDEX error_groups_last_seen ON error_groups (last_seen_at);

-- ── usage ──

CREATE TABLE upstreams (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  name_canonical TEXT NOT NULL,
  base_url TEXT NOT NULL,
  -- Sealed with `upstream-key:<id>` as context; NULL where none is needed.
  key_sealed TEXT,
  -- 'config' rows follow the configuration at each start, 'admin' rows the Admin page.
  source TEXT NOT NULL,
  enabled BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX upstreams_name_canonical ON upstreams (name_canonical);

CREATE TABLE models (
  id TEXT PRIMARY KEY,
  upstream_id TEXT NOT NULL REFERENCES upstreams (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  enabled BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  -- When the upstream last listed it.
  listed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX models_upstream_name ON models (upstream_id, name);
CREATE INDEX models_name ON models (name);

-- The ledger: one row a call to a model. It outlives the user (no foreign key).
CREATE TABLE usage_events (
  id TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  user_id TEXT NOT NULL,
  key_id TEXT,
  model TEXT NOT NULL,
  upstream_id TEXT,
  purpose TEXT NOT NULL,
  outcome TEXT NOT NULL,
  error_code TEXT,
  tokens_in BIGINT NOT NULL,
  tokens_out BIGINT NOT NULL,
  tokens_source TEXT NOT NULL,
  ttft_micros BIGINT,
  duration_micros BIGINT NOT NULL,
  -- Millionths of the accounting currency.
  cost_micros BIGINT NOT NULL
);
CREATE INDEX usage_events_at ON usage_events (at);
CREATE INDEX usage_events_user ON usage_events (user_id, at);

CREATE TABLE usage_hourly (
  hour BIGINT NOT NULL,
  user_id TEXT NOT NULL,
  model TEXT NOT NULL,
  purpose TEXT NOT NULL,
  prompts BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  stops BIGINT NOT NULL,
  tokens_in BIGINT NOT NULL,
  tokens_out BIGINT NOT NULL,
  cost_micros BIGINT NOT NULL,
  -- Answers that ended well, with the sums of their times and output tokens.
  answered BIGINT NOT NULL,
  duration_micros BIGINT NOT NULL,
  ttft_micros BIGINT NOT NULL,
  ttft_count BIGINT NOT NULL,
  answered_tokens_out BIGINT NOT NULL,
  PRIMARY KEY (hour, user_id, model, purpose)
);

CREATE TABLE usage_daily (
  day BIGINT NOT NULL,
  user_id TEXT NOT NULL,
  model TEXT NOT NULL,
  purpose TEXT NOT NULL,
  prompts BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  stops BIGINT NOT NULL,
  tokens_in BIGINT NOT NULL,
  tokens_out BIGINT NOT NULL,
  cost_micros BIGINT NOT NULL,
  answered BIGINT NOT NULL,
  duration_micros BIGINT NOT NULL,
  ttft_micros BIGINT NOT NULL,
  ttft_count BIGINT NOT NULL,
  answered_tokens_out BIGINT NOT NULL,
  PRIMARY KEY (day, user_id, model, purpose)
);
CREATE INDEX usage_daily_user ON usage_daily (user_id, day);

CREATE TABLE usage_total (
  user_id TEXT NOT NULL,
  model TEXT NOT NULL,
  purpose TEXT NOT NULL,
  prompts BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  stops BIGINT NOT NULL,
  tokens_in BIGINT NOT NULL,
  tokens_out BIGINT NOT NULL,
  cost_micros BIGINT NOT NULL,
  answered BIGINT NOT NULL,
  duration_micros BIGINT NOT NULL,
  ttft_micros BIGINT NOT NULL,
  ttft_count BIGINT NOT NULL,
  answered_tokens_out BIGINT NOT NULL,
  PRIMARY KEY (user_id, model, purpose)
);

-- Histograms on a fixed log scale; metric is 'duration' or 'ttft'.
CREATE TABLE latency_hourly (
  hour BIGINT NOT NULL,
  model TEXT NOT NULL,
  metric TEXT NOT NULL,
  bucket BIGINT NOT NULL,
  count BIGINT NOT NULL,
  PRIMARY KEY (hour, model, metric, bucket)
);

-- Kept by a job for standard ranges whose roll-ups are too many to add up on a page.
CREATE TABLE rankings (
  -- 'today', '7d', '30d', '90d', 'month', 'all'
  range_name TEXT NOT NULL,
  -- 'user', 'model' or 'sum'
  scope TEXT NOT NULL,
  -- The user's id or the model's name; empty for 'sum'.
  subject TEXT NOT NULL,
  -- Smallest first: minus the prompts, so that one user's move leaves the other rows alone.
  position BIGINT NOT NULL,
  -- The figures as JSON.
  figures TEXT NOT NULL,
  computed_at BIGINT NOT NULL,
  PRIMARY KEY (range_name, scope, subject)
);
CREATE INDEX rankings_position ON rankings (range_name, scope, position, subject);

-- ── chat ──

CREATE TABLE chats (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  title TEXT NOT NULL,
  -- False until a person names it: then the first prompt does.
  named BOOLEAN NOT NULL,
  model TEXT,
  leaf_id TEXT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX chats_user_updated ON chats (user_id, updated_at, id);

CREATE TABLE messages (
  id TEXT PRIMARY KEY,
  chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
  -- Without a cascade: messages go with their chat, and a cascade along a long thread would be too deep for SQLite.
  parent_id TEXT REFERENCES messages (id),
  -- 'user' or 'assistant'
  role TEXT NOT NULL,
  model TEXT,
  markdown TEXT NOT NULL,
  -- Rendered and sanitized; NULL while it grows. Rendered again where the version is older.
  html TEXT,
  renderer BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL
);
CREATE INDEX messages_chat ON messages (chat_id, id);
CREATE INDEX messages_parent ON messages (parent_id, id);

CREATE TABLE generations (
  id TEXT PRIMARY KEY,
  chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
  message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  user_id TEXT NOT NULL,
  model TEXT NOT NULL,
  upstream_id TEXT,
  -- queued, thinking, streaming, done, stopped, failed, interrupted
  state TEXT NOT NULL,
  error_code TEXT,
  replica TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  first_token_at BIGINT,
  finished_at BIGINT,
  heartbeat_at BIGINT NOT NULL,
  stop_requested_at BIGINT,
  tokens_out BIGINT,
  duration_micros BIGINT,
  ttft_micros BIGINT
);
CREATE UNIQUE INDEX generations_message ON generations (message_id);
CREATE INDEX generations_chat ON generations (chat_id);
-- One live answer a chat.
CREATE UNIQUE INDEX generations_chat_id_live ON generations (chat_id) WHERE finished_at IS NULL;
-- The live ones in the order of their ids, for the reaper; without the heartbeat, which changes at each tick.
CREATE INDEX generations_live ON generations (id) WHERE finished_at IS NULL;

-- A prompt that waits in the composer of a person: one that met an ended session.
CREATE TABLE drafts (
  user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  chat_id TEXT REFERENCES chats (id) ON DELETE CASCADE,
  prompt TEXT NOT NULL,
  model TEXT,
  created_at BIGINT NOT NULL
);
