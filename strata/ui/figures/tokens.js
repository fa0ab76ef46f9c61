// Tokens are hostile text: they only ever become text nodes and attribute values.
export default function ({ data, parentElement, setTriggerValue }) {
  let root = parentElement.querySelector(".root");
  if (!root) {
    root = document.createElement("div");
    root.className = "root";
    parentElement.appendChild(root);
  }
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
    button.style.setProperty("--level", token.level);
    button.onclick = () => setTriggerValue("chosen", position);
    strip.appendChild(button);
  });
  const legend = document.createElement("div");
  legend.className = "legend";
  const ramp = document.createElement("span");
  ramp.className = "ramp";
  legend.append(data.low, ramp, data.high);
  root.replaceChildren(strip, legend);
}
