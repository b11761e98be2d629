/* One episode, frame by frame: the support, the truth, what a method found, and where the two differ. */
const address = (file) => `${encodeURIComponent(page.folder)}/${encodeURIComponent(file)}`;

function makeViewer(board, section) {
  const place = section.querySelector(".viewer");
  const known = unique(board.rows.flatMap((row) => Object.keys(row.masks))).filter((id) => page.pictures[id]);
  if (!known.length) return { has: () => false, open: () => {} };
  const state = { id: known[0], row: 0, frame: 0 };
  const panels = element("div", { class: "panels" });
  const range = element("input", { type: "range", min: 0, value: 0, "aria-label": "frame" });
  const output = element("output", { "aria-live": "polite" });
  let stacks = [];

  /* A stack of frames of which the drawing shows one. */
  function stack(picture, file, name = "") {
    const [height, width] = picture.size;
    const made = drawing("image", { class: name, href: address(file), width, height: height * picture.frames.length, preserveAspectRatio: "none" });
    stacks.push(made);
    return made;
  }

  function panel(words, picture, label, ...layers) {
    const [height, width] = picture.size;
    const shape = { class: "layers", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label };
    return element("figure", { class: "panel" }, drawing("svg", shape, ...layers), element("figcaption", {}, ...words));
  }

  function build() {
    const picture = page.pictures[state.id];
    const row = board.rows[state.row];
    const mask = row.masks[state.id];
    const key = (name, words) => element("span", { class: "legend" }, element("span", { class: `key ${name}` }), words);
    stacks = [];
    const support = element("img", { class: "still", src: address(picture.support), alt: `the support of ${state.id} with its mask` });
    const truth = panel(["Truth"], picture, "the truth on this frame", stack(picture, picture.clip), stack(picture, picture.truth, "overlay"));
    const found = panel([element("bdi", {}, row.name)], picture, "the prediction on this frame", stack(picture, picture.clip), stack(picture, mask, "overlay"));
    const map = drawing("g", { class: "map" }, stack(picture, picture.truth), stack(picture, mask, "second"));
    const words = ["Errors: ", key("missed", "missed"), " ", key("false", "false alarm"), " ", key("hit", "right")];
    const errors = panel(words, picture, "errors on this frame: missed, false and right pixels", stack(picture, picture.clip, "grey"), map);
    panels.replaceChildren(element("figure", { class: "panel" }, support, element("figcaption", {}, "Support")), truth, found, errors);
    range.max = picture.frames.length - 1;
    step(Math.min(state.frame, picture.frames.length - 1));
  }

  function step(frame) {
    const picture = page.pictures[state.id];
    state.frame = frame;
    range.value = frame;
    const name = `frame ${picture.frames[frame]}, ${frame + 1} of ${picture.frames.length}`;
    range.setAttribute("aria-valuetext", name);
    output.textContent = name;
    for (const one of stacks) one.setAttribute("y", -frame * picture.size[0]);
  }

  function offer() {
    const rows = board.rows.map((row, number) => [number, row]).filter(([, row]) => row.masks[state.id]);
    if (!rows.some(([number]) => number === state.row)) state.row = rows[0][0];
    method.select.replaceChildren(...rows.map(([number, row]) => element("option", { value: number }, row.name)));
    method.select.value = String(state.row);
    build();
  }

  const episode = choice("episode", known.map((id) => [id, id]), (id) => {
    Object.assign(state, { id, frame: 0 });
    offer();
  });
  const method = choice("method", [], (row) => {
    state.row = Number(row);
    build();
  });
  for (const [name, made] of Object.entries({ episode, method })) made.select.dataset.viewer = name;
  range.addEventListener("input", () => step(Number(range.value)));
  const bar = element("div", { class: "controls" }, episode.label, method.label);
  place.append(bar, element("div", { class: "scrub" }, range, output), panels);
  section.querySelector(".viewer-heading").hidden = false;
  offer();

  function open(id, row) {
    Object.assign(state, { id, row, frame: 0 });
    episode.select.value = id;
    offer();
    section.querySelector(".viewer-heading").scrollIntoView();
    range.focus({ preventScroll: true });
  }
  return { has: (id) => known.includes(id), open };
}
