/* Every board of the page comes to life; of several protocols one is shown at a time. */
const sections = [...document.querySelectorAll("section.board")];

sections.forEach((section, place) => {
  const board = page.boards[place];
  const tables = makeTables(board, section);
  const failures = makeFailures(board, section, makeViewer(board, section));
  makeFilters(board, section, tables, failures);
});

if (sections.length > 1) {
  const show = (place) => sections.forEach((section, number) => (section.hidden = number !== Number(place)));
  const protocols = choice("protocol", sections.map((section, place) => [String(place), section.dataset.protocol]), show);
  protocols.select.id = "protocol";
  const bar = document.querySelector(".boards");
  bar.append(protocols.label);
  bar.hidden = false;
  show(0);
}
