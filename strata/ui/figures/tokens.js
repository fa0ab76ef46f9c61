// Tokens are hostile text: they only ever become text nodes and attribute values.
export default function ({ data, parentElement, setTriggerValue }) {
  let root = parentElement.querySelector(".root");
  if (!root) {
    root = document.createElement("div");
    root.className = "root";
    parentElement.appendChild(root);
  }
  const kept = root.querySelector(".strip");
  const scrolled = kept ? kept.scrollTop : 0;
  const strip = document.createElement("div");
  strip.className = "strip";
  strip.setAttribute("role", "group");
  strip.setAttribute("aria-label", data.title);
  data.tokens.forEach((token, position) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = token.shown;
    button.title = token.tip;
    button.setAttribute("aria-label", token.tip);
    button.setAttribute("aria-pressed", String(position === data.chosen));
    if (token.level === null) button.classList.add("none");
    else button.style.setProperty("--level", token.level);
    button.onclick = () => setTriggerValue("chosen", position);
    strip.appendChild(button);
  });
  const legend = document.createElement("div");
  legend.className = "legend";
  const ramp = document.createElement("span");
  ramp.className = "ramp";
  const none = document.createElement("span");
  none.className = "ramp none";
  legend.append(data.low, ramp, data.high, none, data.none);
  root.replaceChildren(strip, legend);
  // The chosen token into view, inside the strip only: the page must not jump.
  strip.scrollTop = scrolled;
  const chosen = strip.children[data.chosen];
  if (!chosen) return;
  const [frame, place] = [strip.getBoundingClientRect(), chosen.getBoundingClientRect()];
  if (place.bottom > frame.bottom - 4) strip.scrollTop += place.bottom - frame.bottom + 8;
  if (place.top < frame.top + 4) strip.scrollTop -= frame.top - place.top + 8;
}
