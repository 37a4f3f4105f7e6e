// The live chat page.
//
// Mark-up: <main class="thread" data-chat="{id}"> holds one <article class="msg"> a message, with
// `data-message`; an answer has `data-state`, a `.prose` of `<div class="block" data-index>` and,
// while it is live, a `.clock[data-since]`. `[data-composer]` is the form of the prompt, `[data-live]`
// are forms (Stop, Retry) whose answer is the same page again, `[data-sync]` are small parts taken
// over from each fresh copy of the page.
//
// Stream: GET /chat/{id}/events. `block` {message, index, html}, `state` {message, state}, `bye`.
// It is open only while an answer is live and the tab is visible. HTML is sanitized by the server.

const root = document.documentElement;
const thread = document.querySelector("main.thread[data-chat]");
const composer = document.querySelector("form[data-composer]");
const prompt = composer?.elements.prompt;
const toEnd = document.querySelector("[data-to-end]");
const LIVE = ["queued", "thinking", "streaming"];
const isLive = (article) => LIVE.includes(article.dataset.state);
const liveAnswers = () => [...thread.querySelectorAll(".msg[data-state]")].filter(isLive);
const answerOf = (id) => thread.querySelector(`[data-message="${CSS.escape(id)}"]`);
const announce = (words) => document.dispatchEvent(new CustomEvent("anteroom:announce", { detail: words }));

// The reader's place: follow the answer only from the end of the page.

const atEnd = () => root.scrollHeight - innerHeight - scrollY < 96;
let following = true;

function goToEnd() {
  scrollTo({ top: root.scrollHeight, behavior: "instant" });
  following = true;
}

function keepPlace(change) {
  const follow = following && atEnd();
  change();
  if (follow) goToEnd();
  showToEnd();
}

function showToEnd() {
  if (toEnd) toEnd.hidden = atEnd() || liveAnswers().length === 0;
}

addEventListener("scroll", () => { following = atEnd(); showToEnd(); }, { passive: true });
toEnd?.addEventListener("click", goToEnd);

// Running clocks, by the server's time

let offset = Number(root.dataset.now) - Date.now() * 1000;
let ticking = 0;

function clockWords(micros) {
  const tenths = Math.max(0, Math.floor(micros / 100000));
  if (tenths < 600) return `${Math.floor(tenths / 10)}.${tenths % 10} s`;
  const seconds = Math.floor(tenths / 10);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}

function tick() {
  const clocks = thread.querySelectorAll(".clock[data-since]");
  const now = Date.now() * 1000 + offset;
  for (const clock of clocks) clock.textContent = clockWords(now - Number(clock.dataset.since));
  if (clocks.length === 0 || document.hidden) {
    clearInterval(ticking);
    ticking = 0;
  }
}

function startClocks() {
  if (!ticking && !document.hidden && thread.querySelector(".clock[data-since]")) {
    ticking = setInterval(tick, 100);
    tick();
  }
}

// The stream

let stream = null;
let again = 0;
let patience = 1000;

function follow() {
  startClocks();
  showToEnd();
  const wanted = thread.dataset.chat && !document.hidden && liveAnswers().length > 0;
  if (!wanted) return closeStream();
  if (stream || again) return;
  stream = new EventSource(`/chat/${encodeURIComponent(thread.dataset.chat)}/events`);
  stream.addEventListener("open", () => { patience = 1000; });
  stream.addEventListener("block", (event) => putBlock(JSON.parse(event.data)));
  stream.addEventListener("state", (event) => putState(JSON.parse(event.data)));
  stream.addEventListener("bye", () => { closeStream(); retryLater(); });
  stream.addEventListener("error", () => {
    // While CONNECTING the browser tries again by itself, from the last event on.
    if (stream?.readyState !== EventSource.CLOSED) return;
    closeStream();
    retryLater();
  });
}

function closeStream() {
  stream?.close();
  stream = null;
}

/** The stream ended though an answer is live: ask who we are and how it stands, then follow again. */
function retryLater() {
  clearTimeout(again);
  again = setTimeout(async () => {
    patience = Math.min(patience * 2, 15000);
    const known = await stillSignedIn() && await refresh();
    again = 0;
    if (known) follow();
    else if (liveAnswers().length > 0 && !document.hidden) retryLater();
  }, patience);
}

/** Messages of another branch stream too: fetch the page for each one once, not for each block. */
const strangers = new Set();

function putBlock({ message, index, html }) {
  const answer = answerOf(message);
  if (!answer) {
    if (!strangers.has(message)) refresh();
    strangers.add(message);
    return;
  }
  const prose = answer.querySelector(".prose");
  keepPlace(() => {
    if (answer.dataset.state !== "streaming" && isLive(answer)) {
      answer.dataset.state = "streaming";
      announce("The answer begins.");
    }
    let block = prose.querySelector(`:scope > [data-index="${Number(index)}"]`);
    if (!block) {
      block = document.createElement("div");
      block.className = "block";
      block.dataset.index = index;
      const later = [...prose.children].find((other) => Number(other.dataset.index) > index);
      prose.insertBefore(block, later ?? null);
    }
    block.innerHTML = html;
  });
}

const ENDS = { done: "The answer is complete.", stopped: "Stopped.", failed: "No answer came.", interrupted: "The answer was interrupted." };

async function putState({ message, state }) {
  const answer = answerOf(message);
  if (answer && LIVE.includes(state)) {
    keepPlace(() => { answer.dataset.state = state; });
    return;
  }
  if (answer && !isLive(answer)) return;
  if (await refresh() && ENDS[state]) announce(ENDS[state]);
}

// A fresh copy of the page: take over what changed, keep the rest, the place and what is typed.

let refreshing = null;
let stale = false;

/** True if the page could be fetched. While one copy is under way, a further wish makes one more. */
function refresh() {
  stale = refreshing !== null;
  refreshing ??= (async () => {
    try {
      let known;
      do {
        stale = false;
        known = await fetchPage();
      } while (stale && known);
      return known;
    } finally {
      refreshing = null;
    }
  })();
  return refreshing;
}

async function fetchPage() {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    return takeOver(await read(response));
  } catch {
    return false;
  }
}

async function read(response) {
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const door = response.status === 401 || new URL(response.url).pathname === "/login";
  return { fresh, door, ok: response.ok, url: response.url };
}

/** True if it was a chat's page. */
function takeOver({ fresh, door, ok, url }) {
  const threadNow = fresh.querySelector("main.thread[data-chat]");
  if (!threadNow || !ok) {
    if (door) signedOut();
    return false;
  }
  offset = Number(fresh.documentElement.dataset.now) - Date.now() * 1000;
  if (thread.dataset.chat !== threadNow.dataset.chat) begin(fresh, url);
  else if (new URL(url).search !== location.search) history.replaceState(null, "", url);
  keepPlace(() => {
    reconcile(threadNow);
    sync(fresh);
  });
  document.title = fresh.title;
  follow();
  return true;
}

function reconcile(fresh) {
  const old = new Map([...thread.children].map((node) => [node.dataset.message, node]));
  const focus = document.activeElement?.closest("[data-message]")?.dataset.message;
  const wanted = [...fresh.children].map((node) => {
    const known = node.dataset.message && old.get(node.dataset.message);
    // What streams is newer here than in the copy; what ended and has not changed stays as it is.
    const newer = known && isLive(known) ? stream && isLive(node) : known?.dataset.state === node.dataset.state;
    return known && newer ? known : document.adoptNode(node);
  });
  for (const node of [...thread.children]) if (!wanted.includes(node)) node.remove();
  wanted.forEach((node, at) => {
    if (thread.children[at] !== node) thread.insertBefore(node, thread.children[at] ?? null);
  });
  if (focus && !document.activeElement?.closest("[data-message]")) prompt?.focus({ preventScroll: true });
  document.dispatchEvent(new CustomEvent("anteroom:change", { detail: thread }));
}

function sync(fresh) {
  for (const part of document.querySelectorAll("[data-sync]")) {
    const now = fresh.querySelector(`[data-sync="${part.dataset.sync}"]`);
    if (now && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
  }
  const flashes = document.getElementById("flashes");
  const news = fresh.getElementById("flashes");
  if (flashes && news?.childElementCount) flashes.replaceChildren(...news.childNodes);
}

/** The first prompt made a chat: its address, its form, and its menu (rename, delete) come with it. */
function begin(fresh, url) {
  thread.dataset.chat = fresh.querySelector("main.thread").dataset.chat;
  history.pushState(null, "", url);
  composer.action = fresh.querySelector("form[data-composer]").action;
  const bar = fresh.querySelector(".bar");
  if (bar) document.querySelector(".bar")?.replaceWith(document.adoptNode(bar));
}

// The prompt

const draftKey = () => `draft:${root.dataset.viewer}:${thread.dataset.chat}`;

function keepDraft() {
  try {
    if (prompt.value.trim()) sessionStorage.setItem(draftKey(), prompt.value);
    else sessionStorage.removeItem(draftKey());
  } catch { /* without storage the draft lives in the page only */ }
}

function takeDraft() {
  try { return sessionStorage.getItem(draftKey()) ?? ""; } catch { return ""; }
}

/** The text goes up to the server at once; until it answers, the page shows what will be. */
function showAtOnce(text) {
  const shown = ["live-prompt", "live-answer"].map((id) => document.getElementById(id).content.firstElementChild.cloneNode(true));
  const [mine, answer] = shown;
  mine.textContent = text;
  const model = composer.elements.model?.selectedOptions[0];
  answer.querySelector(".msg-head b").textContent = model?.textContent ?? "";
  answer.querySelector(".clock").dataset.since = Math.round(Date.now() * 1000 + offset);
  thread.querySelector("[data-empty]")?.remove();
  thread.append(...shown);
  startClocks();
  goToEnd();
  announce("Sent. Thinking.");
  return shown;
}

let sending = false;
let failedOnce = false;

async function send(event) {
  const text = prompt.value;
  if (failedOnce) return void markSent(); // the browser's own way, with its own words for what is wrong
  event.preventDefault();
  if (sending || !text.trim()) return;
  sending = true;
  keepDraft();
  const key = draftKey();
  const body = new URLSearchParams(new FormData(composer));
  const shown = showAtOnce(text);
  prompt.value = "";
  let answer = null;
  try {
    answer = await read(await fetch(composer.action, { method: "POST", body, headers: { Accept: "text/html" } }));
  } catch { /* told below */ }
  sending = false;
  if (answer && !answer.door) {
    forget(key);
    if (takeOver(answer)) {
      clearOldDraft(key);
      prompt.focus({ preventScroll: true });
      return;
    }
  }
  for (const node of shown) node.remove();
  prompt.value = prompt.value ? `${text}\n${prompt.value}` : text;
  keepDraft();
  if (answer?.door) {
    // The server carries the prompt through the sign-in.
    markSent();
    HTMLFormElement.prototype.submit.call(composer);
  } else if (answer) {
    const words = answer.fresh.querySelector("#prompt-error b, .flash b, main h1")?.textContent;
    const more = answer.fresh.querySelector("main .blank p")?.textContent ?? "";
    say(`${words ?? "The prompt was not taken"}. ${more} Your prompt is kept in the field.`.replace("..", "."));
  } else {
    failedOnce = true;
    say("The server could not be reached. Your prompt is kept in the field; send it again.");
  }
}

function forget(key) {
  try { sessionStorage.removeItem(key); } catch { /* nothing was kept */ }
}

/** The browser sends the form itself: whether it arrived shows on the next page. */
function markSent() {
  keepDraft();
  try { sessionStorage.setItem("draft-sent", draftKey()); } catch { /* nothing was kept */ }
}

/** The prompt that the browser sent itself stands in the thread: its draft has served. */
function settleSent() {
  try {
    const key = sessionStorage.getItem("draft-sent");
    const last = [...thread.querySelectorAll(".msg--user")].at(-1)?.textContent.trim();
    if (key && last && last === sessionStorage.getItem(key)?.trim()) forget(key);
    forget("draft-sent");
  } catch { /* nothing was kept */ }
}

/** What was typed into the empty composer meanwhile belongs to the chat as it is called now. */
function clearOldDraft(key) {
  if (key !== draftKey()) forget(key);
  keepDraft();
}

function say(words) {
  const flashes = document.getElementById("flashes");
  const notice = document.getElementById("live-flash").content.firstElementChild.cloneNode(true);
  notice.querySelector("b").textContent = words;
  flashes.replaceChildren(notice);
  flashes.scrollIntoView({ block: "nearest" });
}

/** Stop and Retry: the answer is this page again. */
async function sendLive(event) {
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  event.preventDefault();
  if (form.dataset.sent) return;
  form.dataset.sent = "1";
  event.submitter?.setAttribute("aria-disabled", "true");
  try {
    const response = await fetch(form.action, {
      method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" },
    });
    if (takeOver(await read(response))) {
      delete form.dataset.sent;
      event.submitter?.removeAttribute("aria-disabled");
      return;
    }
  } catch { /* the browser's own way says why */ }
  HTMLFormElement.prototype.submit.call(form);
}

// Are we still signed in? Asked when a tab comes back, when a stream ends, and every half minute.

async function stillSignedIn() {
  try {
    const response = await fetch("/api/v1/me", { headers: { Accept: "application/json" }, cache: "no-store" });
    if (response.status === 401) signedOut();
    return response.status !== 401;
  } catch {
    return true; // no connection is no answer
  }
}

/** The page is shown again, which leads to the sign-in and back; the draft waits in this tab. */
function signedOut() {
  if (prompt) keepDraft();
  location.reload();
}

if (thread) {
  document.addEventListener("visibilitychange", async () => {
    if (document.hidden) return closeStream();
    if (!await stillSignedIn()) return;
    if (thread.dataset.chat) await refresh();
    follow();
  });
  setInterval(() => { if (!document.hidden) stillSignedIn(); }, 30000);
  addEventListener("popstate", () => location.reload());
  addEventListener("pageshow", (event) => { if (event.persisted) refresh(); });
  thread.addEventListener("submit", sendLive);
  follow();
  if (thread.childElementCount > 1 && !location.hash) goToEnd();
}

if (thread && composer) {
  settleSent();
  if (!prompt.value) prompt.value = takeDraft();
  const typing = !matchMedia("(pointer: coarse)").matches;
  if (typing && document.activeElement === document.body) prompt.focus({ preventScroll: true });
  prompt.addEventListener("input", keepDraft);
  prompt.addEventListener("keydown", (event) => {
    // 229 and isComposing: an input method is choosing letters, and Enter is its own.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    if (!typing) return; // a touch keyboard has no Shift at hand: its Enter starts a line
    event.preventDefault();
    if (prompt.value.trim()) composer.requestSubmit();
  });
  composer.addEventListener("submit", send);
}
