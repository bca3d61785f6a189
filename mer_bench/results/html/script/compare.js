// Two rows beside each other. Differences are those of the model; nothing is estimated here.

const identity = (table, row) => `${table.variant}/${row.key}`;

function chosen(value) {
  for (const table of page().tables) {
    const place = table.rows.findIndex((row) => identity(table, row) === value);
    if (place >= 0) return { table, place, row: table.rows[place] };
  }
  return null;
}

function mirrored(found) {
  const [value, low, high] = [-found.value, -found.high, -found.low];
  return { value, low, high, p: found.p, p_better: 1 - found.p_better };
}

// As the model has it: a pair of ranked rows, or a row and the reference.
function difference(a, b) {
  if (a.table !== b.table) return null;
  for (const [first, second, value, low, high, p, p_better] of a.table.pairs) {
    const found = { value, low, high, p, p_better };
    if (first === a.place && second === b.place) return found;
    if (first === b.place && second === a.place) return mirrored(found);
  }
  const against = ({ row }) => row.slug === board.reference && !row.control;
  const own = ({ row }) => row.difference && { ...row.difference, p: row.p, p_better: row.p_better };
  if (against(b) && own(a)) return own(a);
  return against(a) && own(b) ? mirrored(own(b)) : null;
}

function verdict(a, b) {
  const scale = page().scales[page().protocol.primary];
  const found = difference(a, b);
  if (!found) {
    const why = a.table === b.table ? "a difference is made of two ranked rows, or of a row and concat"
      : "different settings do not compare";
    return el("p", { class: "verdict" }, `No difference: ${why}.`);
  }
  const held = found.low <= 0 && found.high >= 0;
  return el("div", {},
    el("p", { class: "verdict" }, el("strong", {}, `${a.row.label} minus ${b.row.label}: `),
      `${interval(found, scale.digits, true)} ${scale.title}${scale.unit ? ` ${scale.unit}` : ""}`),
    el("p", { class: "quiet" },
      `95 % interval; it ${held ? "holds 0: not resolved" : "does not hold 0"}. p ${fixed(found.p, 3)}, not adjusted. ` +
      `P(${a.row.label} is better) ${fixed(found.p_better, 3)}; ${scale.higher_is_better ? "higher" : "lower"} is better.`));
}

function table(title, header, lines) {
  if (!lines.length) return "";
  const head = (name, i) => el("th", { scope: "col", class: i ? "n" : "" }, name);
  const line = ([name, ...values]) =>
    el("tr", {}, el("th", { scope: "row" }, name), ...values.map((value) => el("td", { class: "n" }, value)));
  return el("div", {}, el("h3", {}, title), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
    el("table", {}, el("thead", {}, el("tr", {}, ...header.map(head))), el("tbody", {}, ...lines.map(line)))));
}

function numbers(a, b) {
  const { digits } = page().scales[page().protocol.primary];
  const both = (name, of) => [name, of(a.row), of(b.row)];
  const ranks = (row) => (row.rank ? [...new Set(row.rank)].join("-") : DASH);
  const thousands = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  const other = Object.entries(page().scales).filter(([name]) => name in a.row.metrics || name in b.row.metrics);
  return [
    both("rank", ranks),
    both("score [95 %]", (row) => (row.score ? interval(row.score, digits) : fixed(row.mean, digits))),
    both("seed SD", (row) => fixed(row.seed_sd, digits)),
    both("interaction gain [95 %]", (row) => interval(row.gain, digits, true)),
    both("missing AUC [95 %]", (row) => interval(row.missing_auc, digits)),
    both("worst group", (row) => fixed(row.worst_group, digits)),
    ...other.map(([name, scale]) => both(`${scale.title}${scale.unit ? ` ${scale.unit}` : ""} ${scale.higher_is_better ? "\u2191" : "\u2193"}`,
      (row) => fixed(row.metrics[name], scale.digits))),
    both("parameters", (row) => row.parameters ? thousands(row.parameters) : DASH),
    both("CPU seconds of a run", (row) => fixed(row.compute_seconds, 1)),
    both("runs", (row) => `${row.done}/${row.planned}`),
    both("badges", (row) => row.badges.join(", ") || DASH),
  ];
}

function recalls(a, b) {
  const lines = [];
  for (const [task, one] of Object.entries(a.row.confusion)) {
    const two = b.row.confusion[task];
    if (!two || one.names.join("\n") !== two.names.join("\n")) continue;
    const share = (found, i) => {
      const size = found.counts[i].reduce((x, y) => x + y, 0);
      return size ? fixed((100 * found.counts[i][i]) / size, 2) : DASH;
    };
    one.names.forEach((name, i) => lines.push([`${task}: ${name}`, share(one, i), share(two, i)]));
  }
  return lines;
}

// Mean score by rate of missing modalities, from nothing missing up.
function curve(row) {
  const rates = new Map(row.conditions.full === undefined ? [] : [[0, [row.conditions.full]]]);
  for (const [name, value] of Object.entries(row.conditions)) {
    const rate = /^missing_([0-9.]+)/.exec(name);
    if (rate) rates.set(Number(rate[1]), [...(rates.get(Number(rate[1])) || []), value]);
  }
  const points = [...rates].map(([rate, values]) => [rate, values.reduce((x, y) => x + y) / values.length]);
  return points.length > 1 ? points.sort((x, y) => x[0] - y[0]) : [];
}

function overlay(a, b) {
  const [first, second] = [curve(a.row), curve(b.row)];
  if (!first.length || !second.length) return "";
  const scale = page().scales[page().protocol.primary];
  const points = [...first, ...second];
  const [low, high] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
  const far = Math.max(...points.map((p) => p[0]));
  const x = (rate) => 50 + (380 * rate) / far;
  const y = (value) => 210 - (180 * (value - low)) / (high - low || 1);
  const drawing = svg("svg", { class: "plot", role: "img", viewBox: "0 0 470 260", width: "470", height: "260",
    "aria-label": `${scale.title} of ${a.row.label} and ${b.row.label} as modalities go missing` });
  for (const value of high > low ? [low, high] : [low]) {
    drawing.append(svg("line", { class: "rule", x1: 50, x2: 430, y1: y(value), y2: y(value) }),
      svg("text", { x: 44, y: y(value) + 4, "text-anchor": "end" }, fixed(value, scale.digits)));
  }
  for (const rate of new Set(points.map((p) => p[0])))
    drawing.append(svg("text", { x: x(rate), y: 230, "text-anchor": "middle" }, String(rate)));
  drawing.append(svg("text", { x: 430, y: 252, "text-anchor": "end" }, "share of modalities removed at test"));
  for (const [kind, line] of [["first", first], ["second", second]])
    drawing.append(svg("polyline", { class: `curve ${kind}`, points: line.map((p) => `${x(p[0])},${y(p[1])}`).join(" ") }));
  return el("div", {}, el("h3", {}, "As modalities go missing"), el("figure", {}, drawing,
    el("figcaption", {}, `solid: ${a.row.label}; dashed: ${b.row.label}`)));
}

function compare() {
  const [a, b] = [chosen(state.a), chosen(state.b)];
  $("compare").classList.toggle("chosen", Boolean(a && b));
  $("compared").replaceChildren();
  if (!a || !b) return;
  const { digits, title } = page().scales[page().protocol.primary];
  const header = [a.row.label, b.row.label];
  const folds = a.row.folds.map((value, i) => [`fold ${i}`, fixed(value, digits), fixed(b.row.folds[i], digits)]);
  const shared = Object.keys(a.row.conditions).filter((name) => name in b.row.conditions);
  const conditions = shared.map((name) => [name, fixed(a.row.conditions[name], digits), fixed(b.row.conditions[name], digits)]);
  $("compared").replaceChildren(verdict(a, b), el("div", { class: "side" },
    table("Numbers", ["", ...header], numbers(a, b)),
    table("Recall % by class", ["class", ...header], recalls(a, b)),
    table(`${title} by fold`, ["fold", ...header], folds.length > 1 ? folds : []),
    table(`${title} by condition`, ["condition", ...header], conditions.length > 1 ? conditions : []),
    overlay(a, b)));
}

function offer(id) {
  const groups = page().tables.map((found) => el("optgroup", { label: `${found.variant} settings` },
    ...found.rows.map((row) => el("option", { value: identity(found, row) }, row.label))));
  $(id).replaceChildren(el("option", { value: "" }, "choose"), ...groups);
  put(id);
}
