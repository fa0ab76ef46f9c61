// The model as a row of four parts; the ones that the page looks at stand out, and where the sliders
// are is marked. Numbers only: nothing of the text is drawn.
const most = { tokens: 24, blocks: 32 };
const some = 8; // bars for the tokens of many texts, which are counted nowhere: `tokens` is null
const names = {
  text: (d) => (d.tokens === null ? "many texts" : "text"),
  tokens: (d) => (d.tokens === null ? "tokens" : d.tokens === 1 ? "1 token" : `${d.tokens} tokens`),
  blocks: (d) => (d.blocks === 1 ? "1 block" : `${d.blocks} blocks`),
  next: () => "next word",
};

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

// At most so many bars stand for all; the marked one is the bar that the chosen thing falls into.
function bars(count, part, chosen) {
  const row = element("span", "units");
  const drawn = Math.min(count, most[part]);
  const marked = chosen === null ? -1 : Math.floor((chosen * drawn) / count);
  for (let i = 0; i < drawn; i++) row.append(element("i", i === marked ? "here" : ""));
  return row;
}

export default function ({ data, parentElement, setTriggerValue }) {
  let root = parentElement.querySelector(".map");
  if (!root) {
    root = element("div", "map");
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", data.whole ? "The model" : "The model, and where you are in it");
    root.classList.toggle("whole", Boolean(data.whole));
    parentElement.appendChild(root);
  }
  const parts = Object.entries(names).map(([part, name]) => {
    const button = element("button", data.looks_at.includes(part) ? "part looked" : "part");
    button.type = "button";
    button.title = data.tips[part];
    button.setAttribute("aria-label", `${name(data)}. ${data.tips[part]}`);
    const drawn =
      part === "tokens" ? bars(data.tokens ?? some, part, data.position)
      : part === "blocks" ? bars(data.blocks, part, data.block)
      : element("span", "sign", part === "text" ? "Aa" : "?");
    button.append(drawn, element("span", "name", name(data)));
    button.onclick = (event) => {
      const box = drawn.getBoundingClientRect();
      const along = event.detail ? (event.clientX - box.left) / box.width : null; // null: by a key
      setTriggerValue("chosen", [part, along === null ? null : Math.min(1, Math.max(0, along))]);
    };
    return button;
  });
  root.replaceChildren(...parts.flatMap((part, i) => (i ? [element("span", "arrow", "→"), part] : [part])));
  root.append(element("span", "where", data.where));
}
