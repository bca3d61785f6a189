// The rows that are shown, as a file.

// No cell that a spreadsheet takes for a formula; signed numbers are none.
function quoted(value) {
  const safe = /^[=+\-@\t\r]/.test(value) && !/^[+-][0-9.]+/.test(value) ? `'${value}` : value;
  return `"${safe.replaceAll('"', '""')}"`;
}

function save() {
  const lines = [];
  for (const one of tables.filter((each) => each.page === page())) {
    lines.push(["settings", ...[...one.table.tHead.rows[0].cells].map((cell) => cell.textContent)]);
    const kept = [...one.table.tBodies[0].rows].filter((line) => !line.hidden);
    for (const line of kept) lines.push([one.page.tables[one.table.dataset.table].variant, ...[...line.cells].map((cell) => cell.textContent)]);
  }
  const content = lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
  const address = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  el("a", { href: address, download: `${state.board}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
