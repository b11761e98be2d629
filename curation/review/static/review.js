// The review page: a queue of tubes, one key a decision. Whatever is decided is on the server's disk before the next one is shown.

const byId = (id) => document.getElementById(id);
// Why a tube is rejected: what a button says, and what is written down.
const REASONS = [
  ["instances missing", "not every instance on the first frame is annotated"],
  ["masks wrong", "the masks are wrong or rough"],
  ["none of the 80", "the objects are of none of the 80 classes"],
  ["hidden at first", "hardly to be seen on the first frame"],
  ["clip unfit", "the clip is unfit: cut, still, or there twice"],
];
const AHEAD = 4; // tubes whose pictures are drawn before they are reached
const LISTED = 60; // lines of the list to each side of the current one

let set, answers = {}, agreements = [];
let current = -1; // the place of the tube that is shown, in the set
let conflicts = false; // whether conflicts are settled, or the queue is worked through
let plain = false, sheet = false, busy = false, speed = 1;
let seen = "waiting"; // of the current tube's picture: until it is "drawn" no key decides; where it "failed" only the mouse does

const decisions = [
  { key: "a", name: "Accept", kind: "accept", act: () => decide({ verdict: "accept" }) },
  ...REASONS.map(([name, reason], place) => ({
    key: String(place + 1), name: `Reject: ${name}`, more: reason, kind: "reject", act: () => decide({ verdict: "reject", reason }),
  })),
  { key: "r", name: "Reject: because…", more: "for a reason of your own", kind: "reject", act: () => ask("reason") },
  { key: "u", name: "Unsure", kind: "unsure", act: () => decide({ verdict: "unsure" }) },
  { key: "c", name: "Other class…", more: "accepted, but as another of the 80", kind: "accept", act: () => ask("class") },
  { key: "z", name: "Undo", kind: "", blind: true, act: () => decide({ verdict: "undo" }) },
];
const moves = [
  { key: "ArrowRight", name: "next (also J)", act: () => step(1) },
  { key: "ArrowLeft", name: "the one before (also K)", act: () => step(-1) },
  { key: "m", name: "masks of the first frame off and on", act: () => { plain = !plain; sheet = false; showStill(); } },
  { key: "s", name: "overview: twelve frames of the clip", act: () => { sheet = !sheet; showStill(); } },
  { key: " ", name: "stop the clip, and go on", act: pause },
  { key: "]", name: "faster", act: () => pace(2) },
  { key: "[", name: "slower", act: () => pace(0.5) },
  { key: "f", name: "filter by the clip's name", act: () => byId("filter-text").focus() },
  { key: "t", name: "filter by decision", act: () => byId("filter-state").focus() },
  { key: "g", name: "go to the conflicts, and back to the queue", act: () => go(!conflicts) },
  { key: "?", name: "these keys", act: () => byId("help").showModal() },
];
const also = { j: "ArrowRight", k: "ArrowLeft" };

async function fromServer(path, options) {
  const answer = await fetch(path, options).catch(() => null);
  if (!answer) throw new Error("the server does not answer; start `icvos review` again. Nothing that was decided is lost.");
  const said = await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }));
  if (!answer.ok) throw new Error(said.error);
  return said;
}

async function decide(given) {
  if (busy || (current < 0 && given.verdict !== "undo")) return;
  busy = true;
  try {
    const sent = given.verdict === "undo" ? given : { ...given, tube: set.tubes[current].id, settles: conflicts };
    const { tube, answer } = await fromServer("api/decisions", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(sent),
    });
    trouble("");
    const place = set.tubes.findIndex((one) => one.id === tube);
    const left = queue().filter((one) => one !== place);
    answers[tube] = answer;
    const undone = given.verdict === "undo";
    say(`${undone ? "taken back" : words(given)}: ${tube}`);
    show(undone ? place : after(left, place));
    if (conflicts) refresh();
  } catch (error) {
    trouble(error.message);
  } finally {
    busy = false;
  }
}

// What is shown next: the first of the queue behind this place, or else the first of all.
const after = (places, place) => places.find((one) => one > place) ?? places[0] ?? -1;

const mine = (place) => answers[set.tubes[place].id]?.mine ?? null;
const state = (place) => answers[set.tubes[place].id]?.state ?? "open";

function queue() {
  const fits = conflicts ? (place) => state(place) === "conflict" : filter();
  return set.tubes.map((_, place) => place).filter(fits);
}

// What the filters ask for, read once: whether the tube at a place is one of them.
function filter() {
  const wanted = byId("filter-state").value, text = byId("filter-text").value.trim().toLowerCase();
  const name = byId("filter-class").value, warned = byId("filter-warned").checked;
  const asked = {
    todo: (given, answer) => !given && !answer?.settled,
    all: () => true,
    nobody: (given, answer) => !answer?.reviewers,
    settled: (given, answer) => Boolean(answer?.settled),
    class: (given) => Boolean(given?.class_name),
  }[wanted] ?? ((given) => given?.verdict === wanted);
  return (place) => {
    const tube = set.tubes[place];
    return asked(mine(place), answers[tube.id]) && (!name || tube.class === name) && (!warned || tube.warnings.length > 0)
      && (!text || tube.id.toLowerCase().includes(text));
  };
}

function step(by) {
  const places = queue(), at = places.indexOf(current);
  if (at >= 0) show(places[Math.min(places.length - 1, Math.max(0, at + by))]);
  else show(by > 0 ? after(places, current) : places.findLast((one) => one < current) ?? places[0] ?? -1);
}

function go(there) {
  conflicts = there;
  refresh().then(() => show(queue()[0] ?? -1));
}

async function refresh() {
  try {
    ({ answers, agreements } = await fromServer("api/answers"));
    showProgress();
    showList();
    showAgreement();
  } catch (error) {
    trouble(error.message);
  }
}

function show(place) {
  current = place;
  sheet = plain = false;
  showProgress();
  showList();
  if (seen === "failed") trouble(""); // that was about the tube before
  see("waiting");
  const nothing = place < 0;
  for (const id of ["list", "still", "side"]) byId(id).hidden = nothing;
  byId("empty").hidden = !nothing;
  if (nothing) return showEmpty();
  const tube = set.tubes[place];
  byId("class-name").textContent = tube.class;
  byId("position").textContent = `${place + 1} of ${set.tubes.length}`;
  byId("facts").textContent = `${tube.source}/${tube.clip} · objects ${tube.objects.join(", ")} · ${tube.frames} frames`
    + (tube.annotated < tube.frames ? `, ${tube.annotated} of them annotated` : "") + ` · ${tube.size[1]} × ${tube.size[0]}`;
  fill("warnings", tube.warnings.map((warned) => item(`⚠ ${warned.rule}: ${warned.reason}`, set.rules[warned.rule])));
  const answer = answers[tube.id];
  const given = mine(place);
  byId("mine").textContent = [given && `you: ${words(given)}`, conflicts && "what you decide here settles the conflict"].filter(Boolean).join(" · ");
  byId("mine").className = given?.verdict ?? "";
  const settled = answer?.settled ? [item(`settled by ${answer.settled.reviewer}: ${words(answer.settled)}`)] : [];
  const others = [...settled, ...(answer?.others ?? []).map((one) => item(`${one.reviewer}: ${words(one)}`))];
  fill("others", conflicts || given ? others : []); // whoever works through the queue must not be led
  showStill();
  showClip();
  drawAhead();
}

function showEmpty() {
  const [head, body] = byId("empty").children;
  head.textContent = conflicts ? "No conflict to settle" : "Nothing left here";
  const done = set.tubes.filter((_, place) => mine(place)).length;
  body.textContent = conflicts ? "G goes back to the queue." : `${done} of ${set.tubes.length} tubes have your answer. The filters show the others; Z takes the last one back.`;
  byId("clip").replaceChildren();
}

function showStill() {
  if (current < 0) return;
  const kind = sheet ? "sheet" : plain ? "plain" : "first";
  const picture = byId("first"), place = current;
  picture.src = `pictures/${place}/${kind}`;
  const address = picture.src, still = () => place === current && picture.src === address;
  picture.decode().then(
    () => requestAnimationFrame(() => still() && see("drawn")),
    () => still() && showFailure(place, address),
  );
  byId("first").alt = `${set.tubes[current].id}: ${sheet ? "twelve frames" : "the first frame"}`;
  byId("still-words").textContent = sheet ? "overview (S)" : plain ? "first frame without masks (M)" : "first frame (M: masks off, S: overview)";
}

// Whether the reviewer can have seen what a decision would be about.
function see(what) {
  seen = what;
  byId("still").dataset.picture = what;
  byId("keys").querySelectorAll("button").forEach((button, place) => { button.disabled = what === "waiting" && !decisions[place].blind; });
}

async function showFailure(place, address) {
  if (seen === "drawn") return; // another view of a tube that was seen
  const answer = await fetch(address).catch(() => null);
  const why = answer && !answer.ok ? (await answer.json().catch(() => ({}))).error : "";
  if (place !== current) return;
  see("failed");
  trouble(`The picture of ${set.tubes[place].id} cannot be shown${why ? `: ${why}` : "."} Keys do not decide about it: click a button, or go on.`);
}

function showClip() {
  const clip = document.createElement(set.clip_type === "mp4" ? "video" : "img");
  if (set.clip_type === "mp4") {
    Object.assign(clip, { loop: true, muted: true, playsInline: true, autoplay: !matchMedia("(prefers-reduced-motion: reduce)").matches });
    clip.defaultPlaybackRate = clip.playbackRate = speed;
  } else clip.alt = "the clip";
  const place = current;
  clip.addEventListener("error", async () => { // say why, in the server's words
    const answer = await fetch(`pictures/${place}/clip`);
    const why = answer.ok ? "" : (await answer.json()).error;
    if (why && place === current && seen !== "failed") trouble(why); // of a failed picture more is told
  });
  clip.src = `pictures/${current}/clip`;
  byId("clip").replaceChildren(clip);
}

const video = () => byId("clip").querySelector("video");
function pause() { if (video()) video().paused ? video().play() : video().pause(); }
function pace(factor) {
  speed = Math.min(4, Math.max(0.25, speed * factor));
  if (video()) video().playbackRate = video().defaultPlaybackRate = speed;
  say(`speed ${speed}`);
}

let drawn = 0; // which call of drawAhead is the newest
async function drawAhead() {
  const call = ++drawn;
  for (const place of queue().filter((one) => one > current).slice(0, AHEAD)) {
    for (const kind of ["first", "clip"]) {
      if (call !== drawn) return;
      await fetch(`pictures/${place}/${kind}`, { method: "HEAD" }).catch(() => null);
    }
  }
}

function showProgress() {
  const done = set.tubes.filter((_, place) => mine(place)).length;
  byId("bar").max = set.tubes.length || 1;
  byId("bar").value = done;
  byId("progress-words").textContent = `${done} of ${set.tubes.length} done, ${queue().length} here`;
  const open = set.tubes.filter((_, place) => state(place) === "conflict").length;
  byId("conflict-count").textContent = open ? `(${open})` : "";
  byId("to-queue").setAttribute("aria-pressed", String(!conflicts));
  byId("to-conflicts").setAttribute("aria-pressed", String(conflicts));
  byId("filters").hidden = conflicts;
  byId("agreement").hidden = !conflicts || !agreements.length;
}

function showList() {
  const places = queue();
  const at = Math.max(0, places.findIndex((one) => one >= current));
  const marks = { accept: "✓", reject: "✗", unsure: "?" };
  fill("list", places.slice(Math.max(0, at - LISTED), at + LISTED).map((place) => {
    const tube = set.tubes[place], given = mine(place), line = document.createElement("li"), button = document.createElement("button");
    const mark = Object.assign(document.createElement("span"), { className: `mark ${given?.verdict ?? ""}`, textContent: marks[given?.verdict] ?? (tube.warnings.length ? "⚠" : "") });
    button.append(mark, Object.assign(document.createElement("span"), { textContent: `${tube.class} ${tube.clip}` }));
    button.title = tube.id;
    button.tabIndex = -1; // the arrows go through the list
    if (place === current) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => show(place));
    line.append(button);
    return line;
  }));
  byId("list").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

function showAgreement() {
  byId("agreement").querySelector("tbody").replaceChildren(...agreements.map((pair) => {
    const row = document.createElement("tr");
    for (const text of [`${pair.first}, ${pair.second}`, pair.tubes, `${Math.round((100 * pair.agreed) / pair.tubes)} %`, pair.kappa === null ? "not defined" : pair.kappa.toFixed(2)])
      row.append(Object.assign(document.createElement("td"), { textContent: text }));
    return row;
  }));
}

function words(given) {
  if (given.verdict === "accept") return given.class_name ? `accepted as ${given.class_name}` : "accepted";
  return given.verdict === "reject" ? `rejected: ${given.reason}` : given.verdict;
}

// Dialogs

function ask(what) {
  if (current < 0) return;
  const input = byId(what === "class" ? "class-search" : "reason-text");
  input.value = "";
  if (what === "class") showClasses();
  byId(`${what}-dialog`).showModal();
  input.focus();
}

let chosen = 0;
const found = () => {
  const text = byId("class-search").value.trim().toLowerCase();
  const rank = (name) => (name.startsWith(text) ? 0 : name.split(" ").some((word) => word.startsWith(text)) ? 1 : name.includes(text) ? 2 : 3);
  return set.classes.map((name, place) => [rank(name), place, name]).filter(([place]) => place < 3).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((entry) => entry[2]);
};
function showClasses() {
  const names = found();
  chosen = Math.min(Math.max(0, chosen), Math.max(0, names.length - 1));
  fill("class-list", names.map((name, place) => {
    const line = item(name);
    line.setAttribute("role", "option");
    line.setAttribute("aria-selected", String(place === chosen));
    line.addEventListener("click", () => { chosen = place; acceptAs(); });
    return line;
  }));
  byId("class-list").querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
}
function acceptAs() {
  const name = found()[chosen];
  if (!name) return;
  byId("class-dialog").close();
  decide({ verdict: "accept", class_name: name });
}
byId("class-search").addEventListener("input", () => { chosen = 0; showClasses(); });
byId("class-search").addEventListener("keydown", (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (by) { chosen += by; showClasses(); event.preventDefault(); }
});
byId("class-dialog").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); acceptAs(); });
byId("reason-dialog").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const reason = byId("reason-text").value.trim();
  if (!reason) return;
  byId("reason-dialog").close();
  decide({ verdict: "reject", reason });
});

// Small things

const item = (text, title = "") => Object.assign(document.createElement("li"), { textContent: text, title });
const fill = (id, children) => byId(id).replaceChildren(...children);
const say = (text) => { byId("said").textContent = text; };
function trouble(text) { byId("trouble").textContent = text; byId("trouble").hidden = !text; }
const label = (key) => ({ ArrowRight: "→", ArrowLeft: "←", " ": "Space" })[key] ?? key.toUpperCase();

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && event.key.length === 1) return;
  if (document.querySelector("dialog[open]")) {
    if (event.key === "?" && byId("help").open) byId("help").close();
    return;
  }
  if (event.target.matches("input:not([type=checkbox]), select")) {
    if (event.key === "Escape" || event.key === "Enter") event.target.blur();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const bound = [...decisions, ...moves].find((one) => one.key === (also[key] ?? key));
  if (!bound) return;
  event.preventDefault();
  if (decisions.includes(bound) && !bound.blind && current >= 0 && seen !== "drawn")
    return say(seen === "failed" ? "its picture cannot be shown: click a button to decide all the same" : "wait until its picture is drawn");
  bound.act();
});

function wire() {
  fill("keys", decisions.map(({ key, name, more, kind, act }) => {
    const button = document.createElement("button");
    button.className = kind;
    button.title = more ?? "";
    button.append(Object.assign(document.createElement("kbd"), { textContent: label(key) }), ` ${name.replace("Reject: ", "✗ ")}`);
    button.addEventListener("click", () => { button.blur(); act(); });
    return button;
  }));
  fill("help-keys", [...decisions, ...moves].flatMap(({ key, name, more }) => {
    const term = document.createElement("dt");
    term.append(Object.assign(document.createElement("kbd"), { textContent: label(key) }));
    return [term, Object.assign(document.createElement("dd"), { textContent: more ? `${name.replace("…", "")} (${more})` : name })];
  }));
  byId("to-queue").addEventListener("click", () => go(false));
  byId("to-conflicts").addEventListener("click", () => go(true));
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", () => { const places = queue(); show(places.includes(current) ? current : places[0] ?? -1); });
  for (const select of byId("filters").querySelectorAll("select")) select.addEventListener("change", () => select.blur());
  addEventListener("focus", refresh); // another page, or another reviewer, may have gone on meanwhile
}

async function start() {
  try {
    set = await fromServer("api/set");
    ({ answers, agreements } = await fromServer("api/answers"));
  } catch (error) {
    return trouble(error.message);
  }
  byId("reviewer").textContent = set.reviewer;
  document.title = `icvos review: ${set.reviewer}`;
  for (const name of [...new Set(set.tubes.map((tube) => tube.class))].sort()) byId("filter-class").add(new Option(name, name));
  if (set.findings.length) trouble(set.findings.join(" "));
  wire();
  showAgreement();
  show(queue()[0] ?? -1);
}
start();
