/* Where a method fails, and how: at once, on the way, or where another does not. */
const LEVELS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const STEP = 10; // rows more
const FOUND = 0.5; // J on the first frame from which a tube counts as found

const ORDERS = {
  worst: ["worst first", "The lowest J&F first.", (one) => one.JF],
  gap: ["widest gap", "Where the other method is ahead by most.", (one) => (one.other === null ? null : one.JF - one.other)],
  first: ["lost on the first frame", "The lowest J on the first frame, before anything is followed.", (one) => one.first],
  way: ["lost on the way", "J of at least 50 on the first frame, and by most lower over the clip.", (one) => (one.first >= FOUND ? one.J - one.first : null)],
};

/* J over time, from 0 below to 1 above. */
function sparkline(curve) {
  if (!curve) return NOTHING;
  const points = [...curve].map((level, place) => `${(100 * place) / (curve.length - 1)},${20 - (20 * LEVELS.indexOf(level)) / 63}`);
  const shape = { class: "spark", viewBox: "0 0 100 20", preserveAspectRatio: "none", role: "img", "aria-label": "J over time" };
  return drawing("svg", shape, drawing("line", { x1: 0, x2: 100, y1: 20, y2: 20 }), drawing("polyline", { points: points.join(" ") }));
}

function makeFailures(board, section, viewer) {
  const place = section.querySelector(".failures");
  const state = { row: 0, other: Math.min(1, board.rows.length - 1), order: "worst", shown: STEP, kept: [] };
  const names = board.rows.map((row, number) => [String(number), row.name]);
  const said = element("p", { class: "soft" });
  const body = element("tbody");
  const more = element("button", { type: "button" }, "Show more");

  function set(name, value) {
    state[name] = value;
    state.shown = STEP;
    show();
  }

  /* The method's episodes on one tube, with the other method's J&F where it was asked the same. */
  function episodesOf(tube) {
    return board.rows[state.row].draws[tube].map(([draw, JF, J, F, first, curve]) => {
      const same = board.rows[state.other].draws[tube].find(([name]) => name === draw);
      const one = { id: `${board.tubes[tube].id}#${draw}`, JF, J, F, first, curve, other: same ? same[1] : null };
      return { ...one, value: ORDERS[state.order][2](one) };
    });
  }

  const compare = (one, another) => one.value - another.value || one.JF - another.JF || (one.id < another.id ? -1 : 1);

  /* One episode a tube: that which comes first. Else the draws of one hard tube would fill the list. */
  function episodes() {
    const first = (tube) => episodesOf(tube).filter((one) => one.value !== null).sort(compare).slice(0, 1);
    return state.kept.flatMap(first).sort(compare);
  }

  function line(one) {
    const numbers = [["J&F", one.JF], ["J", one.J], ["first J", one.first]];
    if (state.order === "gap") numbers.push(["the other's J&F", one.other]);
    const cells = numbers.map(([heading, value]) => element("td", { class: "number", "data-heading": heading }, element("span", {}, percent(value))));
    const curve = element("td", { class: "number", "data-heading": "J over time" }, sparkline(one.curve));
    const view = element("td", { class: "number" });
    if (viewer.has(one.id)) {
      const button = element("button", { type: "button", "aria-label": `View ${one.id}` }, "View");
      button.addEventListener("click", () => viewer.open(one.id, state.row));
      view.append(button);
    }
    return element("tr", {}, element("th", { scope: "row" }, element("bdi", {}, one.id)), ...cells, curve, view);
  }

  function show() {
    const found = episodes();
    const headings = ["episode", "J&F", "J", "first J", ...(state.order === "gap" ? ["the other's"] : []), "J over time", ""];
    const head = element("tr", {}, ...headings.map((words, number) => element("th", { scope: "col", class: number ? "number" : "" }, words)));
    table.tHead.replaceChildren(head);
    body.replaceChildren(...found.slice(0, state.shown).map(line));
    against.label.hidden = state.order !== "gap";
    said.textContent = `${ORDERS[state.order][1]} ${found.length ? `${many(found.length, "tube")}, of each its first episode in this order.` : "There is none."}`;
    more.hidden = found.length <= state.shown;
  }

  const method = choice("method", names, (value) => set("row", Number(value)));
  const order = choice("order", Object.entries(ORDERS).map(([key, [words]]) => [key, words]), (value) => set("order", value));
  const against = choice("against", names, (value) => set("other", Number(value)));
  against.select.value = String(state.other);
  for (const [name, made] of Object.entries({ method, order, against })) made.select.dataset.failures = name;
  const table = element("table", { class: "rows episodes" }, element("thead"), body);
  more.addEventListener("click", () => {
    state.shown += STEP;
    show();
  });
  const bar = element("div", { class: "controls" }, method.label, order.label, against.label);
  place.append(bar, said, element("div", { class: "scroll" }, table), more);
  section.querySelector(".failures-heading").hidden = false;
  return (kept) => set("kept", kept);
}
