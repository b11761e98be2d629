/* Which tubes and rows are shown. The same tubes for every row, so that means stay comparable. */
const KINDS_OF_TUBES = [["source", "source"], ["class", "class"], ["length", "length"]];
const SEEN = [
  ["classesSeen", "class in training", (tube) => tube.class],
  ["clipsSeen", "clip in training", (tube) => `${tube.source}/${tube.clip}`],
];

function makeFilters(board, section, tables, changed) {
  const bar = section.querySelector(".controls");
  const status = section.querySelector(".status");
  const chosen = { source: "", class: "", length: "", classesSeen: "", clipsSeen: "", kind: "" };
  const choices = [];

  function add(name, words, options) {
    const made = choice(words, [["", "all"], ...options], (value) => {
      chosen[name] = value;
      update();
    });
    made.select.dataset.filter = name;
    choices.push(made);
    bar.append(made.label);
  }

  /* Seen or unseen by one row, by any, or by none; only where some card says what training showed. */
  function seenOptions(name) {
    const known = board.rows.map((row, place) => [place, row]).filter(([, row]) => row[name].length);
    const single = known.flatMap(([place, row]) => [[`in:${place}`, `seen by ${row.name}`], [`out:${place}`, `unseen by ${row.name}`]]);
    return known.length ? [["out:", "unseen by every method"], ["in:", "seen by some method"], ...single] : [];
  }

  function isSeen(name, what, place) {
    return (place === "" ? board.rows : [board.rows[Number(place)]]).some((row) => row[name].includes(what));
  }

  function keeps(tube) {
    const known = KINDS_OF_TUBES.every(([name]) => !chosen[name] || tube[name] === chosen[name]);
    return known && SEEN.every(([name, , what]) => {
      const [side, place] = chosen[name].split(":");
      return !side || isSeen(name, what(tube), place) === (side === "in");
    });
  }

  function update() {
    const kept = board.tubes.map((_, place) => place).filter((place) => keeps(board.tubes[place]));
    const filtered = kept.length < board.tubes.length;
    const whole = board.filterable ? `all ${many(board.tubes.length, "tube")}` : `the group ${board.group.kind}=${board.group.name}`;
    status.textContent = filtered
      ? `${kept.length} of ${many(board.tubes.length, "tube")}: scores and ranks are of these; intervals and noise groups are of whole runs, so there are none here.`
      : `Scores are of ${whole}.`;
    tables.update(kept, filtered, chosen.kind);
    changed(kept, chosen.kind);
  }

  if (board.filterable) {
    for (const [name, words] of KINDS_OF_TUBES) {
      const values = unique(board.tubes.map((tube) => tube[name]));
      if (values.length > 1) add(name, words, values.map((value) => [value, value]));
    }
    for (const [name, words] of SEEN) {
      const options = seenOptions(name);
      if (options.length) add(name, words, options);
    }
  }
  const kinds = board.kinds.filter((kind) => board.rows.some((row) => row.kind === kind));
  if (kinds.length > 1) add("kind", "kind of row", kinds.map((kind) => [kind, kind]));
  const sorting = choice("sort by", tables.keys.map((key) => [key, key]), tables.sort);
  sorting.select.dataset.filter = "sort";
  const clear = element("button", { type: "button" }, "Show all");
  clear.addEventListener("click", () => {
    for (const made of choices) made.select.value = "";
    for (const name of Object.keys(chosen)) chosen[name] = "";
    update();
  });
  bar.append(sorting.label, ...(choices.length ? [clear] : []));
  bar.hidden = false;
  if (board.group && board.filterable) {
    chosen[board.group.kind] = board.group.name;
    for (const made of choices) if (made.select.dataset.filter === board.group.kind) made.select.value = board.group.name;
  }
  update();
}
