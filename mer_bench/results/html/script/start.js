// Connects the controls. Without boards there are none.

function showBoard() {
  for (const section of document.querySelectorAll("section.board")) section.hidden = section.id !== state.board;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.hash === `#${state.board}`;
    if (here) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  const modalities = [...new Set(page().tables.flatMap((found) => found.rows.flatMap((row) => row.modalities)))].sort();
  $("modality").replaceChildren(el("option", { value: "" }, "any"), ...modalities.map((name) => el("option", { value: name }, name)));
  for (const key of FILTERS) put(key);
  offer("a");
  offer("b");
  showRows();
  compare();
}

function start() {
  for (const key of FILTERS) {
    $(key).addEventListener(key === "find" ? "input" : "change", () => {
      state[key] = $(key).value;
      write();
      showRows();
    });
  }
  for (const key of ["a", "b"]) {
    $(key).addEventListener("change", () => {
      state[key] = $(key).value;
      write();
      compare();
    });
  }
  $("swap").addEventListener("click", () => {
    [state.a, state.b] = [state.b, state.a];
    put("a");
    put("b");
    write();
    compare();
  });
  $("reset").addEventListener("click", () => {
    for (const key of FILTERS) state[key] = $(key).value = "";
    Object.assign(state, { sort: "rank", direction: "ascending" });
    write();
    showRows();
  });
  $("save").addEventListener("click", save);
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  // what is folded away is printed too
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
  });
  addEventListener("hashchange", () => {
    read();
    showBoard();
  });
  $("controls").hidden = $("compare").hidden = false;
  read();
  showBoard();
}

if (board.pages.length) start();
