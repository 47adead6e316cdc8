// The page works without this file. With it: times are local, drafts survive a lost connection, buttons say that they
// are at work, and what others record appears by itself, without touching a form that is being filled in.
"use strict";

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const when = new Date(time.dateTime);
    const minutes = Math.round((Date.now() - when) / 60000);
    time.title = local.format(when);
    time.textContent = minutes < 1 ? "just now" : minutes < 60 ? `${minutes} min ago` : local.format(when);
  }
}

// Drafts: what was typed into a form is kept in this tab until the form has been accepted.
const key = (form) => `draft ${location.pathname} ${form.dataset.draft}`;
const typed = (form) => [...form.elements].filter((e) => e.name && !["hidden", "file"].includes(e.type));

function keepDraft(form) {
  const draft = {};
  for (const element of typed(form)) if (element.value !== element.defaultValue) draft[element.name] = element.value;
  sessionStorage.setItem(key(form), JSON.stringify(draft));
}

function restoreDrafts(root) {
  for (const form of root.querySelectorAll("form[data-draft]")) {
    if (form.querySelector("[aria-invalid]")) continue; // the server has sent back what was typed
    const draft = JSON.parse(sessionStorage.getItem(key(form)) || "{}");
    for (const element of typed(form)) if (element.name in draft) {
      element.value = draft[element.name];
      for (let around = element.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
    }
  }
}

document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (form && form.dataset.draft) keepDraft(form);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.busy) return event.preventDefault(); // a second tap on the same button
  form.dataset.busy = "yes";
  const button = event.submitter;
  if (button) {
    if (form.dataset.slow) button.textContent = form.dataset.slow;
    setTimeout(() => (button.disabled = true));
  }
});

window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

document.addEventListener("toggle", (event) => {
  const details = event.target;
  if (details.open && details.parentElement.classList.contains("actions") && started) {
    const first = details.querySelector("input:not([type=hidden])");
    if (first) first.focus({ preventScroll: true });
  }
}, true);

// Live: ask for the version; when it has changed, fetch this page and take over the parts that nobody is working in.
const indicator = document.querySelector(".live");
let version = document.body.dataset.version;
let started = false;

function inUse(element) {
  return element.contains(document.activeElement) && document.activeElement !== document.body
    || element.querySelector("details[open] form, form[data-busy]") !== null
    || [...element.querySelectorAll("form")].some((form) => typed(form).some((e) => e.tagName !== "SELECT" && e.value !== e.defaultValue));
}

function takeOver(old, fresh) {
  const cards = [...fresh.children].filter((child) => child.dataset.key);
  const known = [...old.children].filter((child) => child.dataset.key);
  if (!cards.length && !known.length) return inUse(old) || old.replaceChildren(...fresh.childNodes);
  const kept = new Map(known.filter(inUse).map((card) => [card.dataset.key, card]));
  const next = cards.map((card) => kept.get(card.dataset.key) || card);
  for (const card of kept.values()) if (!next.includes(card)) { // done by somebody else meanwhile
    if (!card.querySelector(".flash")) card.insertAdjacentHTML("afterbegin", '<p class="flash">Somebody has reported on this experiment meanwhile.</p>');
    next.push(card);
  }
  const open = new Set(known.filter((card) => card.querySelector(".why[open]")).map((card) => card.dataset.key));
  for (const card of next) if (open.has(card.dataset.key)) card.querySelector(".why")?.setAttribute("open", "");
  old.replaceChildren(...(next.length ? next : fresh.childNodes));
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return location.reload();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = page.querySelector(`[data-live="${old.dataset.live}"]`);
    if (fresh) takeOver(old, fresh);
  }
  const wanted = page.querySelectorAll("aside [data-live]").length, have = document.querySelectorAll("aside [data-live]").length;
  if (wanted !== have) document.querySelector("aside")?.replaceWith(page.querySelector("aside"));
  version = page.body.dataset.version;
  localTimes(document);
}

function say(words, off) {
  indicator.hidden = false;
  indicator.textContent = words;
  indicator.classList.toggle("off", off);
}

async function poll() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch("/api/version", { signal: AbortSignal.timeout(5000) });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      if (String((await answer.json()).version) !== version) await refresh();
      say("live", false);
    } catch {
      say("no connection; what you type is kept", true);
    }
  }
  setTimeout(poll, 2000);
}

const finished = new URL(location).searchParams.get("form"); // the server has accepted it
for (const form of document.querySelectorAll("form[data-draft]")) {
  if (form.dataset.draft === finished) sessionStorage.removeItem(key(form));
}
if (location.search.includes("done=")) history.replaceState(null, "", location.pathname); // so that it is said once
restoreDrafts(document);
localTimes(document);
if (version) poll();
requestAnimationFrame(() => (started = true));
