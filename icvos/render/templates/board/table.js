/* The tables of one board: their order, and their cells where a part of the tubes is shown. */
function makeTables(board, section) {
  const tables = [...section.querySelectorAll("table.board-rows")];
  const rows = new Map(tables.flatMap((table) => [...table.tBodies[0].rows].map((line) => [Number(line.dataset.row), line])));
  const whole = new Map([...rows.values()].flatMap((line) => [...line.cells].map((cell) => [cell, [...cell.childNodes]])));
  let order = { key: "rank", down: false };
  let standing = [];

  /* A cell's number or name, to sort by. */
  function value(one, key) {
    const cell = [...rows.get(one.place).cells].find((found) => found.dataset.heading === key);
    const score = board.filterable && cell?.dataset.score; // else the cells say what the page cannot form itself
    if (key === "method") return one.row.name;
    return score ? (score === "tubes" ? one.tubes : one.values[score]) ?? NaN : parseFloat(cell?.textContent);
  }

  function compare(one, other) {
    const [first, second] = [value(one, order.key), value(other, order.key)];
    const absent = Number.isNaN(first) - Number.isNaN(second);
    if (absent) return absent; // what is not known stays last, whichever way
    if (Number.isNaN(first) || first === second) return 0;
    return (first < second ? -1 : 1) * (order.down ? -1 : 1);
  }

  function arrange() {
    const sorted = order.key === "rank" ? (order.down ? [...standing].reverse() : standing) : [...standing].sort(compare);
    for (const table of tables) {
      const own = new Set(table.tBodies[0].rows);
      table.tBodies[0].append(...sorted.map((one) => rows.get(one.place)).filter((line) => own.has(line)));
      for (const heading of table.tHead.rows[0].cells) {
        const sortedBy = heading.dataset.sort === order.key;
        if (sortedBy) heading.setAttribute("aria-sort", order.down ? "descending" : "ascending");
        else heading.removeAttribute("aria-sort");
      }
    }
  }

  /* Cells of scores say those of the tubes that are left; what belongs to the whole run alone (intervals) is left out. */
  function fill(one, filtered) {
    const line = rows.get(one.place);
    for (const cell of line.cells) {
      const { score } = cell.dataset;
      if (!filtered || !(score || cell.dataset.whole || cell.classList.contains("first"))) cell.replaceChildren(...whole.get(cell));
      else if (cell.dataset.whole) cell.replaceChildren(element("span", {}, NOTHING));
      else if (!score) cell.replaceChildren(element("span", {}, String(one.row.kind === "method" ? one.rank ?? NOTHING : one.row.kind)));
      else {
        const words = score === "tubes" ? String(one.tubes) : percent(one.values[score]);
        cell.replaceChildren(element("span", {}, score === board.by ? element("strong", {}, words) : words));
      }
    }
  }

  function sort(key, down) {
    order = { key, down };
    arrange();
  }

  function update(kept, filtered, kind) {
    standing = board.filterable ? ranked(board, kept) : board.rows.map((row, place) => ({ place, row, tubes: kept.length, values: {} }));
    for (const one of standing) {
      fill(one, filtered);
      rows.get(one.place).hidden = Boolean(kind) && one.row.kind !== kind;
    }
    for (const table of tables) table.closest(".table").hidden = [...table.tBodies[0].rows].every((line) => line.hidden);
    arrange();
  }

  const lowFirst = (key) => ["rank", "method", "memory"].includes(key) || (key === board.by && board.lower);
  for (const table of tables) {
    for (const heading of table.tHead.rows[0].cells) {
      const key = heading.dataset.sort;
      const button = element("button", { type: "button" }, heading.textContent);
      button.addEventListener("click", () => sort(key, order.key === key ? !order.down : !lowFirst(key)));
      heading.replaceChildren(button);
    }
  }
  const keys = unique(tables.flatMap((table) => [...table.tHead.rows[0].cells].map((heading) => heading.dataset.sort)));
  const inOrder = tables.length ? [...tables[0].tHead.rows[0].cells].map((heading) => heading.dataset.sort) : keys;
  return { update, keys: inOrder, sort: (key) => sort(key, !lowFirst(key)) };
}
