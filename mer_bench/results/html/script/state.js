// What is shown is said by the address, so that a link leads to it.

// What a control does not offer counts as not said.
function put(key) {
  $(key).value = state[key];
  if ($(key).value !== state[key]) state[key] = $(key).value = "";
}

const page = () => board.pages.find((one) => one.name === state.board);

function read() {
  const [name, ...rest] = location.hash.slice(1).split("&");
  const given = new URLSearchParams(rest.join("&"));
  const known = board.pages.some((one) => one.name === name);
  state.board = known ? name : board.pages[0].name;
  for (const key of [...FILTERS, "sort", "a", "b"]) state[key] = given.get(key) || "";
  state.direction = given.get("direction") === "descending" ? "descending" : "ascending";
  if (!state.sort) Object.assign(state, { sort: "rank", direction: "ascending" });
}

function write() {
  const said = new URLSearchParams();
  for (const key of [...FILTERS, "a", "b"]) if (state[key]) said.set(key, state[key]);
  if (state.sort !== "rank" || state.direction !== "ascending") {
    said.set("sort", state.sort);
    said.set("direction", state.direction);
  }
  const tail = said.toString();
  history.replaceState(null, "", `#${state.board}${tail ? `&${tail}` : ""}`);
}
