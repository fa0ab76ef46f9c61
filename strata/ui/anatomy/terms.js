// Terms of the field are explained wherever a page says one: the first time in each block of text
// it is underlined, and its meaning comes when a pointer rests on it, when the keyboard is on it
// and when a finger taps it. What is underlined is a button that lies over the word: the text
// itself, which Streamlit draws anew when it will, is left as it is, and nothing moves.
const { forms, meanings } = window.strataTerms;
const CONTAINER = "[data-testid=stElementContainer]";
const MAIN = "[data-testid=stMain]:has(.st-key-question)"; // a concept's page
const BLOCKS = [
  `${MAIN} [data-testid=stMarkdown] p`,
  `${MAIN} [data-testid=stMarkdown] li`,
  `${MAIN} [data-testid=stMetricLabel] p`,
  // A switch is pressed by its label, so that one is left to it.
  `${MAIN} [data-testid=stWidgetLabel]:not([data-testid=stCheckbox] *) p`,
  // Of plain text only what Strata says itself: elsewhere it is what learners and models wrote.
  `${MAIN} :is([class*=st-key-reading], [class*=st-key-say_]) [data-testid=stText] span`,
  "[data-testid=stSidebar] [class*=st-key-say_] [data-testid=stText] span",
  `${MAIN} [data-testid=stVegaLiteChart] svg .role-title-text text`,
].join(",");
const PANEL = ".st-key-lesson_panel"; // in which a lesson's author says what is explained
const OWN = `${PANEL} abbr[title]`;
// What is explained by Streamlit's own tip, such as a red badge, is not to be covered by another.
const UNREAD = "code, pre, abbr, [role=img], [data-testid=stTooltipHoverTarget]";
const FINGER = 24; // pixels

// A token is shown with a mark for its space or within quotes: neither is a word of ours.
const SIGN = "\\p{L}\\p{M}\\p{N}_}\\u2423\\u21b5\\u21e5\\u25cc\\ufffd";
const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
const plainly = (text) => text.toLowerCase().replaceAll("-", " "); // "hidden-state activations"
const terms = new Map(Object.entries(forms).map(([form, term]) => [plainly(form), term]));
const words = [...terms.keys()].sort((one, other) => other.length - one.length);
const TERM = new RegExp(
  `(?<![${SIGN}])(?:${words.map((each) => escaped(each).replaceAll(" ", "[ -]")).join("|")})(?![${SIGN}{\\\\])`,
  "giu",
);
const QUOTE = /(?<![\p{L}\p{N}\u2423])“|”(?=$|[\s.,;:!?)”])/gu; // one within another, too

const shown = new Map(); // of each container the buttons in it, by what they explain
let [timer, again] = [null, null];

// And once more when nothing has changed for a while: a chart that is drawn anew, as for a dark
// ground, takes its place some frames after the last change that can be heard of.
const later = () => {
  timer ??= setTimeout(mark, 120);
  clearTimeout(again);
  again = setTimeout(mark, 700);
};
// Also of what is there but not to be seen yet: Streamlit keeps it so while a script of its comes.
const [resized, watched] = [new ResizeObserver(later), new WeakSet()];
const watch = (container) => {
  if (!watched.has(container)) resized.observe(container);
  watched.add(container);
};

// The places in a block at which a term stands for the first time: [term, range, as it is written].
function* found(block) {
  const quotes = [...block.textContent.matchAll(QUOTE)];
  const quoted = (at) =>
    quotes.reduce((deep, { 0: sign, index }) => (index > at ? deep : Math.max(0, deep + (sign === "“" ? 1 : -1))), 0);
  const walk = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
  const said = new Set();
  for (let node, start = 0; (node = walk.nextNode()); start += node.length) {
    if (node.parentElement.closest(UNREAD)) continue;
    for (const { 0: text, index } of node.data.matchAll(TERM)) {
      const term = terms.get(plainly(text));
      if (said.has(term) || quoted(start + index)) continue;
      said.add(term);
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + text.length);
      yield [term, range, /\p{Lu}{2}/u.test(text) ? text.replace(/s$/, "") : term]; // MLP, but entropy
    }
  }
}

function place(button, box, around) {
  const [width, height] = [Math.max(box.width, FINGER), Math.max(box.height, FINGER)];
  const style = {
    left: `${(box.left + box.right - width) / 2 - around.left}px`,
    top: `${(box.top + box.bottom - height) / 2 - around.top}px`,
    width: `${width}px`,
    height: `${height}px`,
    "--line": `${box.width}px`,
    "--deep": `${(height + box.height) / 2 - box.height * 0.12}px`,
  };
  const now = JSON.stringify(style);
  if (button.placed === now) return;
  button.placed = now;
  for (const [name, value] of Object.entries(style)) button.style.setProperty(name, value);
}

function made(own) {
  const button = document.createElement("button");
  return Object.assign(button, { type: "button", className: own ? "term own" : "term" });
}

function mark() {
  timer = null;
  const [wanted, reached] = [new Map(), new Set()];
  const want = (element, term, said, meaning, place, own) => {
    const container = element.closest(CONTAINER);
    if (!container) return;
    watch(container);
    const box = place.getClientRects()[0];
    if (!box?.width || !element.checkVisibility()) return;
    if (!wanted.has(container)) wanted.set(container, []);
    // The keyboard stops once at each term, not at each place that says it.
    wanted.get(container).push([term, said, meaning, box, own, reached.has(term) ? -1 : 0]);
    reached.add(term);
  };
  for (const block of document.querySelectorAll(BLOCKS)) {
    if (block.closest(PANEL)) continue;
    for (const [term, range, said] of found(block)) want(block, term, said, meanings[term], range, false);
  }
  for (const each of document.querySelectorAll(OWN)) {
    const said = each.textContent;
    want(each, said, said, each.title, each, true);
  }
  for (const [container, buttons] of shown)
    if (!wanted.has(container)) {
      for (const button of buttons.values()) button.remove();
      shown.delete(container);
    }
  const boxes = new Map([...wanted.keys()].map((each) => [each, each.getBoundingClientRect()]));
  for (const [container, all] of wanted) {
    const [before, now] = [shown.get(container) ?? new Map(), new Map()];
    for (const [term, said, meaning, box, own, tabIndex] of all) {
      let name = term;
      while (now.has(name)) name += "'"; // in another block of the same container
      const button = before.get(name) ?? made(own);
      Object.assign(button, { meaning, tabIndex, ariaLabel: said });
      place(button, box, boxes.get(container));
      if (button.parentElement !== container) container.appendChild(button);
      now.set(name, button);
    }
    for (const [name, button] of before) if (!now.has(name)) button.remove();
    shown.set(container, now);
  }
  if (about && !about.isConnected) hide();
}

// The one place in which a meaning is shown.
const tip = Object.assign(document.createElement("div"), { id: "term-tip", hidden: true });
tip.setAttribute("role", "tooltip");
let [about, leaving] = [null, null];

function show(button) {
  clearTimeout(leaving);
  if (about !== button) hide();
  about = button;
  const name = document.createElement("strong");
  name.textContent = button.ariaLabel;
  tip.replaceChildren(name, " ", button.meaning);
  const { color, backgroundColor } = getComputedStyle(document.querySelector("[data-testid=stApp]"));
  Object.assign(tip.style, { color, backgroundColor });
  if (!tip.isConnected) document.body.appendChild(tip);
  tip.hidden = false;
  button.setAttribute("aria-describedby", tip.id);
  beside();
}

function beside() {
  const [at, own] = [about.getBoundingClientRect(), tip.getBoundingClientRect()];
  const left = Math.min(Math.max(8, at.left), document.documentElement.clientWidth - own.width - 8);
  const below = at.bottom + 2;
  const top = below + own.height < innerHeight ? below : Math.max(0, at.top - own.height - 2);
  Object.assign(tip.style, { left: `${left}px`, top: `${top}px` });
}

function hide() {
  clearTimeout(leaving);
  about?.removeAttribute("aria-describedby");
  about = null;
  tip.hidden = true;
}

const termOf = ({ target }) => target.closest?.("button.term");
document.addEventListener("pointerover", (event) => {
  const button = termOf(event);
  if (button) show(button);
  else if (event.target.closest?.("#term-tip")) clearTimeout(leaving);
});
document.addEventListener("pointerout", (event) => {
  if (!about || !(termOf(event) || event.target.closest?.("#term-tip"))) return;
  clearTimeout(leaving);
  if (event.pointerType !== "touch" && document.activeElement !== about) leaving = setTimeout(hide, 250);
});
document.addEventListener("focusin", (event) => termOf(event) && show(termOf(event)));
document.addEventListener("focusout", (event) => termOf(event) === about && hide());
document.addEventListener("click", (event) => {
  if (termOf(event)) show(termOf(event));
  else if (!event.target.closest?.("#term-tip")) hide();
});
document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
document.addEventListener("scroll", () => about && beside(), { capture: true, passive: true });

const ours = (node) => node.className === "term" || node.className === "term own" || node === tip;
new MutationObserver((changes) => {
  const foreign = ({ type, target, addedNodes, removedNodes }) =>
    type === "attributes" ? target.closest?.(".role-title") :
    type !== "childList" ? target.parentElement !== tip : target !== tip && [...addedNodes, ...removedNodes].some((node) => !ours(node));
  if (changes.some(foreign)) later();
  // Of attributes only where a chart's title stands, which moves alone when the chart is resized.
}).observe(document.body, { childList: true, characterData: true, subtree: true, attributeFilter: ["transform"] });
// At once, or a line stays for a moment where its word was; what moves by and by is followed too.
addEventListener("resize", () => (requestAnimationFrame(mark), later()));
document.fonts?.ready.then(later);
