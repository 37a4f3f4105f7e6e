// An OpenID provider for the browser tests: oidc-provider, which is certified, on loopback and in memory, with pages
// that a test can fill in. It prints "listening on http://127.0.0.1:PORT" once it answers; that is its issuer.
//
//   node provider.mjs --client-secret SECRET --redirect-uri URI [--redirect-uri URI]…
//     [--post-logout-redirect-uri URI]… [--client-id anteroom] [--port 0] [--claims-in-id-token]
//
// Without --claims-in-id-token what the scopes stand for is told by UserInfo only (OpenID Connect Core, 5.4).
// For the tests, by POST: /control/rotate (a new signing key, and only that in the JWKS), /control/down (503 to
// everybody) and /control/up, /control/claims {login, claims} (changes what is said about a person; null takes away).

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import { Provider } from 'oidc-provider';

const HOST = '127.0.0.1';

// Who may sign in, by login name. The subject is neither the name nor the address.
const people = new Map([
  ['ann', { sub: 'u-1001', preferred_username: 'ann', given_name: 'Ann', family_name: 'Archer', email: 'ann@example.org', email_verified: true, groups: ['staff'] }],
  ['ben', { sub: 'u-1002', preferred_username: 'ben', given_name: 'Ben', family_name: 'Baker', email: 'ben@example.org', email_verified: false, groups: ['staff'] }],
  ['cleo', { sub: 'u-1003', preferred_username: 'cleo', given_name: 'Cleo', family_name: 'Cooper' }],
  ['dora', { sub: 'u-1004', preferred_username: 'dora', given_name: 'Dora', family_name: 'Draper', email: 'dora@example.org', email_verified: true, groups: ['chat-admins'] }],
]);

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'client-id': { type: 'string', default: 'anteroom' },
    'client-secret': { type: 'string' },
    'redirect-uri': { type: 'string', multiple: true },
    'post-logout-redirect-uri': { type: 'string', multiple: true, default: [] },
    'claims-in-id-token': { type: 'boolean', default: false },
  },
});
if (!options['client-secret'] || !options['redirect-uri']) {
  console.error('--client-secret and --redirect-uri are needed');
  process.exit(2);
}

const page = (title, body) => `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>${title}</title><link rel="icon" href="data:,"></head>
<body><h1>${title}</h1>${body}</body></html>`;

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text) => String(text).replace(/[&<>"']/g, (sign) => escapes[sign]);

const signInPage = (refusal) => page('Sign in to the test provider', `
<form method="post" autocomplete="off">
<p role="alert">${escape(refusal)}</p>
<p><label>Login name <input name="login" autofocus></label></p>
<p><label><input type="checkbox" name="otp" value="1"> With a one-time code</label></p>
<p><button name="press" value="sign-in">Sign in</button> <button name="press" value="cancel">Cancel</button></p>
</form>`);

// What a new provider takes over from the one before: sessions, codes and grants, as kept by model and id.
const kept = new Map();

class Adapter {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  live(entry) {
    return entry && entry.until > Date.now() ? entry.payload : undefined;
  }

  first(has) {
    const entry = [...kept].find(([key, { payload }]) => key.startsWith(`${this.model}:`) && has(payload));
    return this.live(entry?.[1]);
  }

  async upsert(id, payload, seconds) {
    kept.set(this.key(id), { payload, until: seconds ? Date.now() + seconds * 1000 : Infinity });
  }

  async find(id) {
    return this.live(kept.get(this.key(id)));
  }

  async findByUid(uid) {
    return this.first((payload) => payload.uid === uid);
  }

  async findByUserCode(userCode) {
    return this.first((payload) => payload.userCode === userCode);
  }

  async consume(id) {
    kept.get(this.key(id)).payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    kept.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of kept) {
      if (payload.grantId === grantId) kept.delete(key);
    }
  }
}

const cookieKeys = [randomUUID()];

function newProvider(issuer) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return new Provider(issuer, {
    adapter: Adapter,
    acrValues: ['pwd', 'mfa'],
    claims: {
      openid: ['sub', 'acr', 'amr', 'auth_time'],
      profile: ['preferred_username', 'given_name', 'family_name', 'groups'],
      email: ['email', 'email_verified'],
    },
    clients: [{
      client_id: options['client-id'],
      client_secret: options['client-secret'],
      redirect_uris: options['redirect-uri'],
      post_logout_redirect_uris: options['post-logout-redirect-uri'],
    }],
    conformIdTokenClaims: !options['claims-in-id-token'],
    cookies: { keys: cookieKeys },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: {
        logoutSource: (ctx, form) => {
          ctx.body = page('Sign out of the test provider', `${form}
            <p><button form="op.logoutForm" name="logout" value="yes">Sign out</button></p>`);
        },
        postLogoutSuccessSource: (ctx) => {
          ctx.body = page('Signed out of the test provider', '');
        },
      },
    },
    findAccount: (_, sub) => {
      const found = [...people.values()].find((person) => person.sub === sub);
      return found && { accountId: sub, claims: () => found };
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' }] },
    pkce: { required: () => true },
    responseTypes: ['code'],
    renderError: (ctx, out) => {
      ctx.type = 'html';
      ctx.body = page('Refused by the test provider', `<p>${escape(JSON.stringify(out))}</p>`);
    },
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 3600, IdToken: 600, Interaction: 600, Session: 3600 },
  });
}

async function bodyOf(request) {
  let text = '';
  for await (const part of request) text += part;
  return text;
}

function answer(response, status, type, text) {
  response.writeHead(status, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-store' }).end(text);
}

// The page between the authorization request and its answer. Whoever signs in agrees to what is asked for.
async function interaction(request, response) {
  if (request.method !== 'POST') {
    answer(response, 200, 'text/html', signInPage(''));
    return;
  }
  const form = new URLSearchParams(await bodyOf(request));
  if (form.get('press') === 'cancel') {
    const result = { error: 'access_denied', error_description: 'The person cancelled' };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
    return;
  }
  const person = people.get(form.get('login'));
  if (!person) {
    answer(response, 200, 'text/html', signInPage('Nobody has this name'));
    return;
  }
  const { params } = await provider.interactionDetails(request, response);
  const grant = new provider.Grant({ accountId: person.sub, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const proof = form.has('otp') ? { acr: 'mfa', amr: ['pwd', 'otp'] } : { acr: 'pwd', amr: ['pwd'] };
  const result = { login: { accountId: person.sub, ...proof }, consent: { grantId: await grant.save() } };
  await provider.interactionFinished(request, response, result);
}

async function control(request, response, path) {
  if (request.method !== 'POST') {
    answer(response, 405, 'text/plain', 'POST only');
    return;
  }
  const body = await bodyOf(request);
  switch (path) {
    case '/control/rotate':
      provider = newProvider(provider.issuer);
      break;
    case '/control/down':
      down = true;
      break;
    case '/control/up':
      down = false;
      break;
    case '/control/claims': {
      const { login, claims } = JSON.parse(body);
      const person = people.get(login);
      for (const [name, value] of Object.entries(claims)) {
        if (value === null) delete person[name];
        else person[name] = value;
      }
      break;
    }
    default:
      answer(response, 404, 'text/plain', 'no such control');
      return;
  }
  answer(response, 204, 'text/plain');
}

let provider;
let down = false;

const server = createServer((request, response) => {
  const path = request.url.split('?')[0];
  let done;
  if (path.startsWith('/control/')) done = control(request, response, path);
  else if (down) done = answer(response, 503, 'text/plain', 'down');
  else if (path.startsWith('/interaction/')) done = interaction(request, response);
  else done = provider.callback()(request, response);
  Promise.resolve(done).catch((error) => {
    console.error(error);
    if (!response.headersSent) answer(response, 500, 'text/plain', error.message);
  });
});

server.listen(Number(options.port), HOST, () => {
  const issuer = `http://${HOST}:${server.address().port}`;
  provider = newProvider(issuer);
  console.log(`listening on ${issuer}`);
});
