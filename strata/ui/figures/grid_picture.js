// The grid as a picture that stands alone: an SVG whose cells still say what they hold.
const COLUMN = 112, NARROW = 48, LINE = 22, GAP = 10;
const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Other programs than browsers read no colour but this kind.
function plain(colour) {
  const pen = new OffscreenCanvas(1, 1).getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
  return { fill: `rgb(${red},${green},${blue})`, "fill-opacity": (alpha / 255).toFixed(3) };
}

function cut(text, longest) {
  const characters = [...text];
  return characters.length > longest ? characters.slice(0, longest - 1).join("") + "…" : text;
}

function broken(text, longest) {
  const lines = [""];
  text.split(" ").forEach((word) => {
    const more = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (more.length <= longest || !lines.at(-1)) lines[lines.length - 1] = cut(more, longest);
    else lines.push(cut(word, longest));
  });
  return lines;
}

function drawn(root, data) {
  const ground = plain(getComputedStyle(root).getPropertyValue("--st-background-color"));
  const ink = plain(getComputedStyle(root).color);
  const width = Math.max(420, NARROW + COLUMN * data.columns.length);
  const said = data.legend.map((item) => `${item.name}, from ${item.low} to ${item.high}`);
  if (data.same) said.push(`Underlined: ${data.same}`);
  const about = broken(data.about, Math.floor(width / 7.5));
  const top = LINE + 18 * about.length + GAP; // what stands above the cells
  const height = top + LINE * (data.layers.length + 2) + 2 * GAP + 20 * said.length;
  const picture = svg("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` });
  picture.append(svg("title", {}, data.title), svg("desc", {}, data.alt));
  picture.append(svg("rect", { width, height, ...ground }));
  const write = (text, x, y, more) => {
    const style = { "font-family": "monospace", "font-size": 13, "xml:space": "preserve" };
    const element = svg("text", { x, y, ...style, ...ink, ...more }, text);
    picture.append(element);
    return element;
  };
  const names = (y) => {
    write("Layer", NARROW - 6, y + 16, { "text-anchor": "end", "font-size": 11 });
    data.columns.forEach((column, c) => {
      const text = cut(`${column.position} ${column.shown}`, 14);
      write(text, NARROW + c * COLUMN + 5, y + 16, { "font-weight": 600 });
    });
  };
  write(data.title, 4, 16, { "font-weight": 600 });
  about.forEach((line, i) => write(line, 4, LINE + 14 + 18 * i, { "font-size": 12 }));
  names(top);
  const buttons = [...root.querySelectorAll("td button")];
  data.layers.forEach((layer, r) => {
    const y = top + LINE * (r + 1);
    write(String(layer), NARROW - 6, y + 16, { "text-anchor": "end", "font-size": 12 });
    data.cells[r].forEach((content, c) => {
      const x = NARROW + c * COLUMN;
      const look = getComputedStyle(buttons[r * data.columns.length + c]);
      const cell = svg("rect", { x, y, width: COLUMN, height: LINE, ...plain(look.backgroundColor) });
      cell.append(svg("title", {}, content.tip));
      picture.append(cell);
      const line = content.same ? { "text-decoration": "underline" } : {};
      const text = write(cut(content.shown, 13), x + 5, y + 16, { ...plain(look.color), ...line });
      text.append(svg("title", {}, content.tip));
    });
  });
  const bottom = top + LINE * (data.layers.length + 1);
  names(bottom);
  said.forEach((line, i) => {
    write(cut(line, Math.floor(width / 7.5)), 4, bottom + LINE + GAP + 16 + 20 * i, { "font-size": 12 });
  });
  return picture;
}

function saved(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function savePicture(root, data, kind) {
  const picture = drawn(root, data);
  const text = new XMLSerializer().serializeToString(picture);
  if (kind === "svg") return saved(new Blob([text], { type: "image/svg+xml" }), `${data.file}.svg`);
  const image = new Image();
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  await image.decode();
  const canvas = new OffscreenCanvas(2 * image.width, 2 * image.height);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  saved(await canvas.convertToBlob({ type: "image/png" }), `${data.file}.png`);
}
