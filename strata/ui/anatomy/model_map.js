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

// At most so many bars stand for all.
function bars(count, part) {
  const row = element("span", "units");
  for (let i = 0; i < Math.min(count, most[part]); i++) row.append(element("i"));
  return row;
}

// Where the page's sliders stand: the bar that each falls into, and in words.
function mark(root, data) {
  for (const bar of root.querySelectorAll(".units i")) bar.className = "";
  for (const { part, first, value } of data.stands) {
    const row = root.querySelectorAll(`.${part} .units i`);
    const count = data[part] ?? 0;
    if (count) row[Math.floor((Math.max(0, value - first) * row.length) / count)]?.classList.add("here");
  }
  const said = data.stands.map(({ noun, value }) => `${noun} ${value}`);
  root.querySelector(".where").textContent = said.length && !data.whole ? `You are at ${said.join(", ")}` : "";
}

// A slider in a part of the page that runs by itself, as when its layers are played, moves alone.
function followed(root, data) {
  const heard = new MutationObserver((changes) => {
    for (const { target } of changes)
      for (const each of data.stands)
        if (target.closest(`.st-key-${each.key}`) && /^\d+$/.test(target.ariaValueText ?? ""))
          each.value = Number(target.ariaValueText);
    mark(root, data);
  });
  const main = document.querySelector("[data-testid=stMain]");
  heard.observe(main, { subtree: true, attributeFilter: ["aria-valuetext"] });
  return () => heard.disconnect();
}

export default function ({ data: given, parentElement, setTriggerValue }) {
  const data = { ...given, stands: given.stands.map((each) => ({ ...each })) };
  let root = parentElement.querySelector(".map");
  if (!root) {
    root = element("div", "map");
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", data.whole ? "The model" : "The model, and where you are in it");
    root.classList.toggle("whole", Boolean(data.whole));
    parentElement.appendChild(root);
  }
  const parts = Object.entries(names).map(([part, name]) => {
    const button = element("button", `part ${part}${data.looks_at.includes(part) ? " looked" : ""}`);
    button.type = "button";
    button.title = data.tips[part];
    button.setAttribute("aria-label", `${name(data)}. ${data.tips[part]}`);
    const drawn =
      part === "tokens" ? bars(data.tokens ?? some, part)
      : part === "blocks" ? bars(data.blocks, part)
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
  root.append(element("span", "where"));
  mark(root, data);
  return followed(root, data);
}
