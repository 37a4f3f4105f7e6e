// Passkeys: between a form and navigator.credentials.
//
// Mark-up: <form method="post" action="/where/the/answer/goes" hidden
//   data-passkey="register|check|step-up|passwordless" data-options="/where/options/come/from"> with the
// hidden `csrf_token`, other fields, and <p role="alert" data-passkey-error hidden>. On submit the other fields
// go to `data-options` as JSON; what comes back is {ceremony, publicKey, mediation?}. Then the form is posted with
// `ceremony` and `credential` (text of JSON), and the server answers as to any form. Where the server wants step-up
// first, the form is posted without them, so that its page can ask.
//
// `data-autofill` on a passwordless form: the browser offers passkeys in fields with autocomplete "… webauthn".
// `[data-passkey-only]` is shown with the forms; `[data-no-passkey]` where the browser has no passkeys.

const supported = "PublicKeyCredential" in window && "credentials" in navigator;
const forms = [...document.querySelectorAll("form[data-passkey]")];
for (const part of document.querySelectorAll(supported ? "form[data-passkey], [data-passkey-only]" : "[data-no-passkey]")) {
  part.hidden = false;
}

/** An error whose message is for the page. */
class Told extends Error {}
/** The server wants to know first who is there. */
class StepUp extends Error {}

const words = {
  NotAllowedError: "Nothing was chosen, or it took too long. Try again when you are ready.",
  InvalidStateError: "This device has a passkey for your account already.",
  SecurityError: "Passkeys do not work at this address. Open the site by its usual address.",
  NotSupportedError: "This device has no passkey of the kind that is needed here. Use another one, or another way.",
};
const otherwise = "The passkey could not be used. Try again, or use another way.";

// base64url and bytes, for browsers that cannot read or write the JSON forms themselves

const toBytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

function readOptions(json, creates) {
  const native = creates ? "parseCreationOptionsFromJSON" : "parseRequestOptionsFromJSON";
  if (typeof PublicKeyCredential[native] === "function") return PublicKeyCredential[native](json);
  const read = (list) => list?.map((one) => ({ ...one, id: toBytes(one.id) }));
  const options = { ...json, challenge: toBytes(json.challenge) };
  if (json.user) options.user = { ...json.user, id: toBytes(json.user.id) };
  if (json.excludeCredentials) options.excludeCredentials = read(json.excludeCredentials);
  if (json.allowCredentials) options.allowCredentials = read(json.allowCredentials);
  return options;
}

function writeCredential(credential) {
  if (typeof credential.toJSON === "function") {
    // Some password managers put in an object of their own, without the bytes behind it.
    try { return JSON.stringify(credential.toJSON()); } catch { /* by hand then */ }
  }
  const response = { transports: credential.response.getTransports?.() };
  for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[part]) response[part] = toText(credential.response[part]);
  }
  const { id, rawId, type } = credential;
  return JSON.stringify({
    id, rawId: toText(rawId), type, response, clientExtensionResults: credential.getClientExtensionResults(),
  });
}

/** The options for this form from the server. */
async function ask(form, submitter, more, signal) {
  // What waits sealed in a form of the step-up is only for the address that the form goes to.
  const { csrf_token, step_up_carry, ...fields } = Object.fromEntries(new FormData(form, submitter));
  let response;
  try {
    response = await fetch(form.dataset.options, {
      method: "POST",
      headers: { "Accept": "application/json", "Content-Type": "application/json", "X-CSRFToken": csrf_token },
      body: JSON.stringify({ ...fields, ...more }),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Told("The server did not answer. Check your connection and try again.");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer?.publicKey) return answer;
  if (answer?.type?.endsWith("/step-up-required")) throw new StepUp();
  throw new Told(answer?.detail ?? answer?.title ?? "The server did not answer as expected. Load the page again.");
}

/** Posts the form with these fields beside its own. */
function post(form, submitter, fields) {
  clear(form);
  if (submitter?.name) fields = { [submitter.name]: submitter.value, ...fields };
  for (const [name, value] of Object.entries(fields)) {
    const field = Object.assign(document.createElement("input"), { type: "hidden", name, value });
    field.dataset.passkeyField = "";
    form.append(field);
  }
  HTMLFormElement.prototype.submit.call(form);
}

function clear(form) {
  for (const field of form.querySelectorAll("[data-passkey-field]")) field.remove();
}

function tell(form, text) {
  const line = form.querySelector("[data-passkey-error]");
  if (!line) return;
  line.hidden = !text;
  line.textContent = text;
}

function rest(form) {
  delete form.dataset.busy;
  form.querySelector('[aria-disabled="true"]')?.removeAttribute("aria-disabled");
}

async function run(form, submitter) {
  const creates = form.dataset.passkey === "register";
  form.dataset.busy = "1";
  submitter?.setAttribute("aria-disabled", "true");
  tell(form, "");
  stopOffering();
  try {
    const answer = await ask(form, submitter, {});
    const publicKey = readOptions(answer.publicKey, creates);
    const credential = await (creates
      ? navigator.credentials.create({ publicKey })
      : navigator.credentials.get({ publicKey }));
    if (!credential) throw new Told(otherwise);
    post(form, submitter, { ceremony: answer.ceremony, credential: writeCredential(credential) });
  } catch (error) {
    if (error instanceof StepUp) return post(form, submitter, {});
    rest(form);
    tell(form, error instanceof Told ? error.message : words[error.name] ?? otherwise);
    offer();
  }
}

// Before the listener of every page, which would count the form as sent.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!("passkey" in form.dataset) || event.defaultPrevented) return;
  event.preventDefault();
  if (!form.dataset.busy) run(form, event.submitter);
}, true);

// Passkeys in the fields of the sign-in form. The browser waits with them for as long as the page stands open, a
// ceremony lasts five minutes: it is begun anew before that, while someone may look.

const FRESH = 4 * 60 * 1000;
const autofill = forms.find((form) => form.dataset.passkey === "passwordless" && "autofill" in form.dataset);
let offered = null;
let offeredAt = 0;
let again = 0;

function stopOffering() {
  clearTimeout(again);
  offered?.abort();
  offered = null;
}

async function offer() {
  if (!supported || !autofill || document.hidden) return;
  stopOffering();
  const mine = new AbortController();
  offered = mine;
  offeredAt = Date.now();
  try {
    if (!await PublicKeyCredential.isConditionalMediationAvailable?.()) return;
    again = setTimeout(offer, FRESH);
    const answer = await ask(autofill, null, { autofill: true }, mine.signal);
    const publicKey = readOptions(answer.publicKey, false);
    const credential = await navigator.credentials.get({ publicKey, mediation: "conditional", signal: mine.signal });
    if (!credential || offered !== mine) return;
    clearTimeout(again);
    post(autofill, null, { ceremony: answer.ceremony, credential: writeCredential(credential) });
  } catch { /* nobody asked for it: the button tells what is wrong */ }
}

offer();
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !autofill?.dataset.busy && Date.now() - offeredAt > FRESH) offer();
});

// A page that comes back from the browser's history can be used again.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of forms) {
    clear(form);
    rest(form);
  }
  offer();
});
