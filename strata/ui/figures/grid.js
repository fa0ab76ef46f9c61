// Tokens are hostile text: they only ever become text nodes and attribute values.
function made(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function legend(item) {
  const box = made("span", "item");
  const ramp = made("span", "ramp " + item.kind + (item.signed ? " signed" : ""));
  box.append(item.name + " ", item.low, ramp, item.high);
  return box;
}

export default function ({ data, parentElement, setTriggerValue }) {
  let root = parentElement.querySelector(".root");
  const kept = root && root.querySelector(".box");
  const scrolled = kept ? [kept.scrollLeft, kept.scrollTop] : [0, 0];
  const focused = kept && kept.contains(kept.getRootNode().activeElement);
  if (!root) {
    root = made("div", "root");
    parentElement.appendChild(root);
  }
  const box = made("div", "box");
  const table = made("table");
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", data.alt);
  const tip = made("div", "tip");
  tip.hidden = true;

  const header = (name) => {
    const part = made(name);
    const row = made("tr");
    row.appendChild(made("th", "corner", "Layer"));
    data.columns.forEach((column) => {
      const cell = made("th", "token");
      cell.scope = "col";
      if (column.position === data.stands) cell.classList.add("stands");
      cell.append(made("span", "position", String(column.position)), made("b", "", column.shown));
      row.appendChild(cell);
    });
    part.appendChild(row);
    return part;
  };

  const show = (cell, said) => {
    tip.replaceChildren(...said.split("\n").map((line) => made("div", "", line)));
    tip.hidden = false;
    const frame = root.getBoundingClientRect();
    const place = cell.getBoundingClientRect();
    const right = place.right - frame.left + 6;
    const fits = right + tip.offsetWidth < frame.width;
    tip.style.left = Math.max(0, fits ? right : place.left - frame.left - tip.offsetWidth - 6) + "px";
    const lowest = frame.height - tip.offsetHeight;
    tip.style.top = Math.max(0, Math.min(place.top - frame.top, lowest)) + "px";
  };
  const hide = () => (tip.hidden = true);

  const body = made("tbody");
  const buttons = [];
  data.layers.forEach((layer, r) => {
    const row = made("tr");
    const name = made("th", "layer", String(layer));
    name.scope = "row";
    row.appendChild(name);
    buttons.push(
      data.cells[r].map((content, c) => {
        const position = data.columns[c].position;
        const cell = made("td", position === data.stands ? "stands" : "");
        const button = made("button", content.same ? "same" : "", content.shown);
        const chosen = layer === data.chosen[0] && position === data.chosen[1];
        button.type = "button";
        button.tabIndex = chosen ? 0 : -1;
        button.setAttribute("aria-label", content.tip);
        button.setAttribute("aria-pressed", String(chosen));
        button.style.setProperty("--back", Math.abs(content.back));
        button.style.setProperty("--front", Math.abs(content.front));
        if (content.back < 0) button.classList.add("below");
        button.onclick = () => setTriggerValue("chosen", [layer, position]);
        button.onmouseenter = button.onfocus = () => show(cell, content.tip);
        button.onmouseleave = button.onblur = hide;
        button.onkeydown = (event) => {
          const step = {
            ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
            Home: [0, -c], End: [0, data.columns.length - 1 - c],
          };
          if (event.key === "Escape") hide();
          if (!step[event.key]) return;
          event.preventDefault();
          const [down, right] = step[event.key];
          const next = buttons[r + down] && buttons[r + down][c + right];
          if (!next) return;
          button.tabIndex = -1;
          next.tabIndex = 0;
          next.focus();
        };
        cell.appendChild(button);
        row.appendChild(cell);
        return button;
      }),
    );
    body.appendChild(row);
  });
  if (!buttons.flat().some((button) => button.tabIndex === 0)) buttons[0][0].tabIndex = 0;

  table.append(header("thead"), body);
  if (data.layers.length > 12) table.appendChild(header("tfoot"));
  box.appendChild(table);
  const foot = made("div", "legend");
  foot.append(...data.legend.map(legend));
  if (data.same) {
    const note = made("span", "item");
    note.append(made("span", "mark", "token"), " " + data.same);
    foot.appendChild(note);
  }
  const head = made("div", "head");
  head.append(made("div", "title", data.title));
  ["svg", "png"].forEach((kind) => {
    const button = made("button", "save", kind.toUpperCase());
    button.type = "button";
    button.title = `Download this grid as ${kind.toUpperCase()}`;
    button.setAttribute("aria-label", button.title);
    button.onclick = () => savePicture(root, data, kind);
    head.append(button);
  });
  root.replaceChildren(head, made("div", "about", data.about), box, foot, tip);
  const room = made("div", "room"); // beyond the last column
  box.appendChild(room);
  if (kept) [box.scrollLeft, box.scrollTop] = scrolled;
  else if (data.chosen[1] === null) box.scrollLeft = box.scrollWidth; // the prompt's end first
  const pressed = table.querySelector('[aria-pressed="true"]');
  if (pressed && focused) pressed.focus({ preventScroll: true });
  // The chosen cell, or the column that stands out, comes into view, inside the box only: the page
  // must not jump.
  const seen = pressed || table.querySelector("th.stands");
  const chosen = () => {
    if (!seen) return;
    const [frame, place] = [box.getBoundingClientRect(), seen.getBoundingClientRect()];
    if (place.right > frame.right) box.scrollLeft += place.right - frame.right + 8;
    if (place.left < frame.left + 60) box.scrollLeft -= frame.left + 60 - place.left;
    if (!pressed) return;
    if (place.bottom > frame.bottom - 26) box.scrollTop += place.bottom - frame.bottom + 40;
    if (place.top < frame.top + 26) box.scrollTop -= frame.top + 40 - place.top;
  };
  // Few columns are narrower where all of them are then in view.
  const fit = () => {
    const corner = table.querySelector(".corner").offsetWidth;
    const each = Math.floor((box.clientWidth - corner) / data.columns.length);
    if (each >= 68 && each < 110) box.style.setProperty("--widest", `${each}px`);
    else box.style.removeProperty("--widest");
  };
  // No column is cut by that of the layers: one of which a part is left there goes out of view.
  const whole = () => {
    const edge = table.querySelector(".corner").getBoundingClientRect().right;
    const ends = [...table.querySelectorAll("thead .token")].map((name) => name.getBoundingClientRect());
    const cut = ends.find((name) => name.left < edge - 1 && name.right > edge + 1);
    if (!cut) return;
    const further = Math.ceil(cut.right - edge);
    const left = box.scrollWidth - box.clientWidth - box.scrollLeft;
    if (left < further) room.style.width = room.offsetWidth + further - left + "px";
    box.scrollLeft += further;
  };
  // Whenever the grid has another size, which changes what is in view: with no more room than that
  // needs. An observer calls at once.
  new ResizeObserver(() => {
    room.style.width = "";
    fit();
    chosen();
    whole();
  }).observe(box);
}
