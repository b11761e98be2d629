/* What the page was told, how it makes elements (foreign text only ever becomes text), and the harness's own sums. */
const page = JSON.parse(document.getElementById("data").textContent);
const NOTHING = "–";

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/* A choice with its label; options are [value, words]. */
function choice(words, options, changed) {
  const select = element("select", {}, ...options.map(([value, said]) => element("option", { value }, said)));
  select.addEventListener("change", () => changed(select.value));
  return { select, label: element("label", {}, words, select) };
}

function percent(value) {
  if (value === null || value === undefined) return NOTHING;
  const text = (100 * value).toFixed(2);
  return text === "-0.00" ? "0.00" : text;
}

const many = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
const unique = (values) => [...new Set(values)].sort((one, other) => (one < other ? -1 : 1));

/* A row's scores over some tubes: the mean of the tubes' means, each of them the mean over its support draws. */
function scoresOver(board, row, kept) {
  const tubes = kept.map((place) => row.means[place]).filter((means) => means !== null);
  if (!tubes.length) return { tubes: 0, values: {} };
  const mean = (place) => tubes.reduce((sum, means) => sum + means[place], 0) / tubes.length;
  const values = Object.fromEntries(board.scores.map((name, place) => [name, mean(place)]));
  return { tubes: tubes.length, values: { ...values, spread: mean(board.scores.length) } };
}

/* The rows as the harness ranks them: methods, ceilings, floors, each from the best down; scores that print alike share a rank. */
function ranked(board, kept) {
  const sign = board.lower ? 1 : -1;
  const rows = board.rows.map((row, place) => ({ place, row, ...scoresOver(board, row, kept), rank: null }));
  const score = (one) => one.values[board.by];
  rows.sort((one, other) => {
    const kinds = board.kinds.indexOf(one.row.kind) - board.kinds.indexOf(other.row.kind);
    const absent = (score(one) === undefined) - (score(other) === undefined);
    return kinds || absent || sign * ((score(one) ?? 0) - (score(other) ?? 0)) || (one.row.name < other.row.name ? -1 : 1);
  });
  rows.forEach((one, place) => {
    if (one.row.kind !== "method" || score(one) === undefined) return;
    const above = rows[place - 1];
    one.rank = above && percent(score(above)) === percent(score(one)) ? above.rank : place + 1;
  });
  return rows;
}
