// Every page: theme, small controls, times in words. Everything here adds life to a page that
// works without it. Listeners sit on the document, so they also serve what is put in later;
// whoever puts something in says so by the event `anteroom:change`.

const root = document.documentElement;
const byId = (id) => document.getElementById(id);

/** Read aloud to screen readers, once; not shown. */
function announce(words) {
  const line = byId("announce");
  line.textContent = "";
  setTimeout(() => { line.textContent = words; }, 50);
}
document.addEventListener("anteroom:announce", (event) => announce(event.detail));

// Theme. The cookie lets the server render the chosen one from the first byte.

const themes = ["light", "dark"];

function stored(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

function showTheme(theme) {
  const chosen = themes.includes(theme) ? theme : "system";
  if (chosen === "system") delete root.dataset.theme;
  else root.dataset.theme = chosen;
  document.querySelector('meta[name="color-scheme"]').content = chosen === "system" ? "light dark" : chosen;
  for (const radio of document.querySelectorAll('input[name="theme"]')) radio.checked = radio.value === chosen;
}

function keepTheme(theme) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  const age = theme === "system" ? 0 : 31536000;
  document.cookie = `theme=${theme}; path=/; max-age=${age}; samesite=lax${secure}`;
  try { localStorage.setItem("theme", theme); } catch { /* a browser without storage keeps the cookie */ }
}

const remembered = stored("theme");
if (remembered && remembered !== (root.dataset.theme ?? "system")) {
  showTheme(remembered);
  keepTheme(remembered);
}
addEventListener("storage", (event) => {
  if (event.key === "theme" && event.newValue) showTheme(event.newValue);
});

// Small controls

document.addEventListener("change", (event) => {
  const field = event.target;
  if (field.name === "theme" && field.type === "radio") {
    showTheme(field.value);
    keepTheme(field.value);
  } else if (field.closest("[data-autosubmit]")) {
    field.form?.requestSubmit();
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if ("reveal" in button.dataset) reveal(button);
  if ("copy" in button.dataset) copy(button);
  if ("print" in button.dataset) print();
  if ("dismiss" in button.dataset) button.closest(".flash")?.remove();
});

function reveal(button) {
  const field = byId(button.getAttribute("aria-controls"));
  const shown = field.type === "password";
  field.type = shown ? "text" : "password";
  button.setAttribute("aria-pressed", String(shown));
  button.textContent = shown ? "Hide" : "Show";
  field.focus();
}

/** `data-copy` copies the code beside it; `="article"` the answer; `="#id"` that element. */
async function copy(button) {
  const where = button.dataset.copy;
  const source = where === "article" ? button.closest("article")?.querySelector(".prose")
    : where ? document.querySelector(where)
    : button.closest("figure")?.querySelector("pre");
  if (!source || button.dataset.copied) return;
  const text = source.value ?? (where === "article" ? visibleText(source) : source.textContent);
  let done = true;
  try { await navigator.clipboard.writeText(text.trim()); } catch { done = copyOldWay(text.trim()); }
  announce(done ? "Copied" : "Copying was refused by the browser");
  if (!done) return;
  const icon = button.querySelector("use");
  const words = icon ? null : button.textContent;
  const before = icon?.getAttribute("href");
  if (icon) icon.setAttribute("href", before.replace(/#.*/, "#i-check"));
  else button.textContent = "Copied";
  button.dataset.copied = "1";
  setTimeout(() => {
    if (icon) icon.setAttribute("href", before);
    else button.textContent = words;
    delete button.dataset.copied;
  }, 1500);
}

/** As it reads on the page, without the captions and buttons of code. */
function visibleText(prose) {
  const copy = prose.cloneNode(true);
  for (const caption of copy.querySelectorAll("figcaption")) caption.remove();
  copy.classList.add("hide");
  prose.after(copy);
  const text = copy.innerText;
  copy.remove();
  return text;
}

/** The clipboard interface exists on https and localhost only. */
function copyOldWay(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hide";
  document.body.append(area);
  area.select();
  let done = false;
  try { done = document.execCommand("copy"); } catch { /* told by the result */ }
  area.remove();
  return done;
}

// Forms: ask first, then send once.

document.addEventListener("submit", (event) => {
  const form = event.target;
  const asked = event.submitter?.dataset.confirm ? event.submitter : form;
  const question = asked.dataset.confirm;
  if (!question || form.dataset.confirmed) {
    delete form.dataset.confirmed;
    return;
  }
  event.preventDefault();
  event.stopImmediatePropagation();
  const dialog = byId("confirm");
  byId("confirm-title").textContent = question;
  byId("confirm-text").textContent = asked.dataset.confirmText ?? "";
  byId("confirm-yes").textContent = asked.dataset.confirmYes ?? "Go on";
  dialog.returnValue = "no";
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "yes") return;
    form.dataset.confirmed = "1";
    form.requestSubmit(event.submitter);
  }, { once: true });
  document.querySelector("[popover].menu:popover-open")?.hidePopover();
  dialog.showModal();
}, true);

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !sends(form)) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
  event.submitter?.setAttribute("aria-disabled", "true");
  if ("signOut" in form.dataset) {
    try { sessionStorage.clear(); } catch { /* nothing was kept */ }
  }
});

/** Read from the attributes: a form may hold a field that is called `method` or `target`. */
function sends(form) {
  return form.getAttribute("method")?.toLowerCase() === "post" && !form.hasAttribute("target");
}

// A form that waited for a step-up at a provider goes on by itself. Not when somebody comes back to it:
// then it was sent already.
const waiting = document.querySelector("form[data-go-on]");
if (waiting && performance.getEntriesByType("navigation")[0]?.type === "navigate") waiting.requestSubmit();

// A page that comes back from the browser's history can be sent again.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    form.querySelector('[aria-disabled="true"]')?.removeAttribute("aria-disabled");
  }
});

// Times in the reader's own zone. `data-utc` keeps what the server wrote, `data-ago` is a distance.

const clockOffset = Number(root.dataset.now ?? 0) / 1000 - Date.now();
const now = () => Date.now() + (root.dataset.now ? clockOffset : 0);
const dayTime = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const dayYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });

function localWords(at) {
  const midnight = new Date(now());
  midnight.setHours(0, 0, 0, 0);
  if (at.getFullYear() !== midnight.getFullYear()) return dayYear.format(at);
  const days = Math.round((midnight - new Date(at.getFullYear(), at.getMonth(), at.getDate())) / 86400000);
  if (days === 0) return clock.format(at);
  if (days === 1) return `yesterday ${clock.format(at)}`;
  return dayTime.format(at).replace(",", "");
}

function agoWords(at) {
  const minutes = Math.floor((now() - at) / 60000);
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ago`;
  return localWords(at);
}

function showTimes(within = document) {
  for (const time of within.querySelectorAll("time[datetime]:not([data-utc])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title ||= full.format(at);
    time.textContent = "ago" in time.dataset ? agoWords(at) : localWords(at);
  }
}
showTimes();
setInterval(() => { if (!document.hidden) showTimes(); }, 60000);
document.addEventListener("anteroom:change", (event) => showTimes(event.detail ?? document));

// Flashes stand in the page when it loads, which screen readers pass over.

const flash = document.querySelector(".flash b");
if (flash) announce(flash.textContent);

// A link of the rail closes the drawer; menus stand at their button where anchors are unknown.

document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (event.newState !== "open" || !menu.matches(".menu") || CSS.supports("position-area: block-end")) return;
  const opener = document.querySelector(`[popovertarget="${menu.id}"]`)?.getBoundingClientRect();
  if (!opener || innerWidth < 640) return;
  const left = Math.min(opener.left, innerWidth - menu.offsetWidth - 8);
  const up = menu.classList.contains("menu--up") || opener.bottom + menu.offsetHeight > innerHeight;
  const top = up ? opener.top - menu.offsetHeight - 6 : opener.bottom;
  Object.assign(menu.style, { position: "fixed", inset: `${Math.max(8, top)}px auto auto ${Math.max(8, left)}px` });
}, true);
