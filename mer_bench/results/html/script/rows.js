// Sorts and filters the rows that are on the page already.

const SORTS = {
  rank: (row, place) => place,
  label: (row) => row.label.toLowerCase(),
  score: (row) => (row.score ? row.score.value : row.mean),
  difference: (row) => row.difference && row.difference.value,
  p: (row) => (row.p_adjusted === null ? row.p : row.p_adjusted),
  gain: (row) => row.gain && row.gain.value,
  missing_auc: (row) => row.missing_auc && row.missing_auc.value,
  done: (row) => row.done / row.planned,
  badges: (row) => row.badges.join(" ").toLowerCase() || null,
};
const QUALITIES = ["score", "difference", "missing_auc", "worst_group"];
const LARGE_FIRST = ["p_better", "gain", "done"];

const sortable = (row, place) => (SORTS[state.sort] ? SORTS[state.sort](row, place) : row[state.sort]);

// Rows without a value come last, whatever the direction; equal ones stay in the order of the ranks.
function order(rows) {
  const sign = state.direction === "ascending" ? 1 : -1;
  return rows
    .map((row, place) => ({ place, value: sortable(row, place) }))
    .sort((x, y) => {
      const [noX, noY] = [x.value ?? null, y.value ?? null].map((value) => value === null);
      if (noX || noY) return noX - noY || x.place - y.place;
      return sign * ((x.value > y.value) - (x.value < y.value)) || x.place - y.place;
    })
    .map((one) => one.place);
}

function passes(row) {
  const words = [row.label, row.slug, ...row.badges].join(" ").toLowerCase();
  const kind = { ranked: row.rank !== null, unranked: row.rank === null, control: row.control };
  return (
    words.includes(state.find.trim().toLowerCase()) &&
    (!state.show || kind[state.show]) &&
    (!state.modality || row.modalities.includes(state.modality)) &&
    (!state.most || row.parameters <= Number(state.most))
  );
}

function sortBy(key) {
  const first = QUALITIES.includes(key)
    ? page().scales[page().protocol.primary].higher_is_better ? "descending" : "ascending"
    : LARGE_FIRST.includes(key) ? "descending" : "ascending";
  const turned = state.direction === "ascending" ? "descending" : "ascending";
  Object.assign(state, { sort: key, direction: state.sort === key ? turned : first });
  write();
  showRows();
}

const tables = [...document.querySelectorAll("table.main")].map((table) => {
  const found = board.pages[table.dataset.page];
  const lines = [...table.tBodies[0].rows];
  for (const head of table.tHead.rows[0].cells) {
    const button = el("button", { type: "button" }, head.textContent);
    button.addEventListener("click", () => sortBy(head.dataset.key));
    head.replaceChildren(button);
  }
  return { table, page: found, rows: found.tables[table.dataset.table].rows, lines };
});

function showRows() {
  let [seen, all] = [0, 0];
  for (const one of tables.filter((each) => each.page === page())) {
    for (const head of one.table.tHead.rows[0].cells) {
      if (head.dataset.key === state.sort) head.setAttribute("aria-sort", state.direction);
      else head.removeAttribute("aria-sort");
    }
    for (const place of order(one.rows)) {
      const kept = passes(one.rows[place]);
      one.lines[place].hidden = !kept;
      one.table.tBodies[0].append(one.lines[place]);
      seen += kept;
      all += 1;
    }
  }
  $("count").textContent = `${seen} of ${all} rows`;
}
