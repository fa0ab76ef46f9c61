// Tokens are hostile text: they only ever become text nodes and attribute values.

// The button that a key leads to from another one; in another row it is the nearest.
function led(buttons, from, key) {
  const at = buttons.indexOf(from);
  const near = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buttons.length - 1 }[key];
  if (near !== undefined) return buttons[near];
  if (key !== "ArrowUp" && key !== "ArrowDown") return undefined;
  const middle = (button) => button.offsetLeft + button.offsetWidth / 2;
  const rows = [...new Set(buttons.map((button) => button.offsetTop))];
  const row = rows[rows.indexOf(from.offsetTop) + (key === "ArrowUp" ? -1 : 1)];
  const off = (button) => Math.abs(middle(button) - middle(from));
  return buttons.filter((button) => button.offsetTop === row).sort((a, b) => off(a) - off(b))[0];
}

export default function ({ data, parentElement, setTriggerValue }) {
  let root = parentElement.querySelector(".root");
  if (!root) {
    root = document.createElement("div");
    root.className = "root";
    parentElement.appendChild(root);
  }
  const before = root.querySelector(".strip");
  const focused = before ? [...before.children].indexOf(root.getRootNode().activeElement) : -1;
  const strip = document.createElement("div");
  strip.className = "strip";
  strip.setAttribute("role", "toolbar");
  strip.setAttribute("aria-label", data.title);
  // One stop of the Tab key: arrows go from token to token.
  const stop = (button) => buttons.forEach((each) => (each.tabIndex = each === button ? 0 : -1));
  const buttons = data.tokens.map((token, position) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = token.shown;
    button.title = token.tip;
    const guessed = position === data.guessed;
    button.setAttribute("aria-label", guessed ? `${token.tip}, your guess` : token.tip);
    button.classList.toggle("guessed", guessed);
    button.setAttribute("aria-pressed", String(position === data.chosen));
    if (token.level === null) button.classList.add("none");
    else button.style.setProperty("--level", token.level);
    button.onclick = () => setTriggerValue("chosen", position);
    button.onfocus = () => stop(button);
    return button;
  });
  strip.onkeydown = (event) => {
    const next = led(buttons, event.target, event.key);
    if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    next.focus();
  };
  stop(buttons[data.chosen] ?? buttons[0]);
  strip.append(...buttons);
  const legend = document.createElement("div");
  legend.className = "legend";
  const part = (...inner) => {
    const made = document.createElement("span");
    made.append(...inner);
    return made;
  };
  const ramp = document.createElement("span");
  ramp.className = "ramp";
  const none = document.createElement("span");
  none.className = "ramp none";
  legend.append(part(data.low, ramp, data.high), part(none, data.none));
  if (buttons[data.guessed]) {
    const mine = document.createElement("span");
    mine.className = "ramp mine";
    legend.append(part(mine, "your guess"));
  }
  const head = document.createElement("div");
  head.className = "head";
  const [heading, about] = ["b", "span"].map((name) => document.createElement(name));
  [heading.textContent, about.textContent] = [data.heading, data.about];
  head.append(heading, about);
  root.replaceChildren(head, strip, legend);
  strip.scrollTop = before?.scrollTop ?? 0;
  buttons[focused]?.focus({ preventScroll: true });
  const shown = buttons[focused] ?? buttons[data.chosen];
  if (!shown) return;
  // Into view inside the strip only, since the page must not jump; whenever the strip has another
  // size, which changes the rows. An observer calls at once, too.
  new ResizeObserver(() => {
    const [frame, place] = [strip, shown].map((each) => each.getBoundingClientRect());
    if (place.bottom > frame.bottom - 4) strip.scrollTop += place.bottom - frame.bottom + 8;
    if (place.top < frame.top + 4) strip.scrollTop -= frame.top - place.top + 8;
  }).observe(strip);
}
