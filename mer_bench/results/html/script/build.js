// What all parts use: the model, elements whose text only ever enters as text, numbers as Python writes them.

const board = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const DASH = "\u2014";
const SVG = "http://www.w3.org/2000/svg";
const FILTERS = ["find", "show", "modality", "most"];
const state = {};

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(child))));
  return made;
}
const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// As Python writes it: an exact half goes to the even digit.
function fixed(value, digits, sign = false) {
  if (value === null || value === undefined) return DASH;
  const size = Math.abs(value);
  const [whole, rest] = size.toFixed(60).split(".");
  let shown = size.toFixed(digits);
  if (/^50*$/.test(rest.slice(digits))) {
    const below = digits ? `${whole}.${rest.slice(0, digits)}` : whole;
    if ("02468".includes(below.at(-1))) shown = below;
  }
  if (Number(shown) === 0) return shown;
  return (value < 0 ? "-" : sign ? "+" : "") + shown;
}

function interval(found, digits, sign = false) {
  if (!found) return DASH;
  return `${fixed(found.value, digits, sign)} [${fixed(found.low, digits, sign)}, ${fixed(found.high, digits, sign)}]`;
}
