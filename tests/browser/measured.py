"""What is measured of a page in a browser: contrasts, widths, boxes, targets and shifts."""

from __future__ import annotations

from playwright.sync_api import Page

# The contrast of each element's text with what is painted behind it (WCAG 2): transparent colours
# and opacities are laid over what the ancestors paint.
CONTRAST = """all => {
  const pen = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const parse = colour => {
    if (!known.has(colour)) {
      pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = (top, alpha, ground) => ground.map((c, i) => top[i] * alpha + c * (1 - alpha));
  const light = rgb => {
    const [x, y, z] = rgb.map(c => c / 255).map(
      c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const painted = new Map();  // what is behind the content of an element, and how opaque it is
  const behind = element => {
    if (!element) return [[255, 255, 255], 1];
    if (!painted.has(element)) {
      const [ground, above] = behind(element.parentElement ?? element.getRootNode().host);
      const style = getComputedStyle(element), opacity = above * Number(style.opacity);
      const [r, g, b, a] = parse(style.backgroundColor);
      painted.set(element, [over([r, g, b], a * opacity, ground), opacity]);
    }
    return painted.get(element);
  };
  const contrast = element => {
    const [ground, opacity] = behind(element);
    if (opacity === 0) return null;  // an axis label that would overlap another
    const own = getComputedStyle(element);
    const [r, g, b, a] = parse(element instanceof SVGElement ? own.fill : own.color);
    const text = over([r, g, b], a * opacity, ground);
    const [low, high] = [light(text), light(ground)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  return all.map(each => [each.textContent, contrast(each)]);
}"""
WIDTHS = """() => [document.scrollingElement, document.querySelector("[data-testid=stMain]")]
  .map(each => each.scrollWidth - each.clientWidth)"""
# Name, left, top, right and bottom of what can be seen of each element: a box that scrolls hides
# what is beyond its ends.
BOXES = """all => all.filter(each => each.checkVisibility({visibilityProperty: true}))
  .map(each => {
    let {left, top, right, bottom} = each.getBoundingClientRect();
    for (let at = each; at; at = at.parentElement ?? at.getRootNode().host) {
      if (at === each || getComputedStyle(at).overflowX === "visible") continue;
      const box = at.getBoundingClientRect();
      [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
      [top, bottom] = [Math.max(top, box.top), Math.min(bottom, box.bottom)];
    }
    return [each.innerText || each.ariaLabel, left, top, right, bottom];
  })
  .filter(([, left, top, right, bottom]) => left < right && top < bottom)"""
# Lines of titles, and of what stands under them, that run out of their chart at its right or its
# upper edge, by so many pixels; a line's box is 3 pixels higher than its letters.
CUT_TITLES = """() => [...document.querySelectorAll("[data-testid=stVegaLiteChart] svg")]
  .flatMap(svg => [...svg.querySelectorAll("[class*=role-title] text")].map(text => {
    const line = text.getBoundingClientRect(), edge = svg.getBoundingClientRect();
    return [text.textContent, Math.max(line.right - edge.right, edge.top - line.top - 4)];
  }))
  .filter(([, beyond]) => beyond > 1)"""
LEGIBLE = (  # what is read on every page
    "h1",
    ".st-key-question p",
    ".st-key-reading p strong",
    ".st-key-reading [data-testid=stText]",
    ".st-key-proof p strong",
    ".st-key-proof .stMarkdownBadge",
    "[data-testid=stMain] [data-testid=stWidgetLabel] p",
    "[data-testid=stMain] [data-testid=stCaptionContainer] p",
    "[data-testid=stTab] p",
    ".st-key-foot button p",
    ".strip button",
    ".legend",
    "td button",
    ".save",
    "[data-testid=stVegaLiteChart] svg text",
    "[data-testid=stSidebar] [data-testid=stSidebarNavLink] p",
    "[data-testid=stSidebar] [data-testid=stWidgetLabel] p",
    "[data-testid=stSidebar] [data-testid=stCaptionContainer] p",
    "[data-testid=stSidebar] textarea",
    "[data-testid=stSidebar] [data-testid=stBaseButton-primary] p",
    "[class*=st-key-say_] [data-testid=stText]",
)
# What can be clicked and is not there where a finger of 24 pixels touches it in its middle.
TOO_SMALL = """() => {
  const at = (x, y, root = document) => {
    const found = root.elementFromPoint(x, y);
    return found?.shadowRoot && found.shadowRoot !== root ? at(x, y, found.shadowRoot) : found;
  };
  const all = root => [...root.querySelectorAll("*")].flatMap(
    each => each.shadowRoot ? [each, ...all(each.shadowRoot)] : [each]);
  const target = each =>  // of an input that is there for the keyboard only, what stands for it
    each.type === "range" ? each.closest("[data-rac]")
      : each.matches("input") ? each.closest("label") ?? each : each;
  return all(document.querySelector("[data-testid=stApp]"))
    .filter(each => each.matches("a[href], button, input, select, textarea, summary, [role=tab]"))
    .filter(each => !each.closest("[data-testid=stSkipToContent], p") && !each.disabled)
    .map(target)
    .filter(each => each.checkVisibility({visibilityProperty: true, opacityProperty: true}))
    .filter(each => {
      each.scrollIntoView({block: "center", inline: "center"});
      const box = each.getBoundingClientRect();
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      return ![[-11.5, 0], [11.5, 0], [0, -11.5], [0, 11.5]].every(
        ([right, down]) => each.contains(at(x + right, y + down)));
    })
    .map(each => each.outerHTML.slice(0, 200));
}"""
# The sum of all shifts, and of each its size, what moved, and from where to where.
SHIFT = """() => new Promise(tell => {
  const told = [], at = ({x, y, width, height}) => [x, y, width, height].map(Math.round).join();
  let sum = 0;
  new PerformanceObserver(list => {
    for (const {value, hadRecentInput, sources} of list.getEntries()) {
      if (hadRecentInput) continue;
      sum += value;
      for (const {node, previousRect, currentRect} of sources) told.push(
        `${value.toFixed(3)}: ${node?.outerHTML?.slice(0, 120) ?? node?.textContent}, `
          + `${at(previousRect)} to ${at(currentRect)}`);
    }
  }).observe({type: "layout-shift", buffered: true});
  setTimeout(() => tell([sum, told]), 200);
})"""


def shifted(page: Page) -> tuple[float, str]:
    """The sum of all shifts since the page came, and what moved."""
    page.wait_for_timeout(500)  # what comes late jumps too
    shifts, moved = page.evaluate(SHIFT)
    return shifts, "\n".join(moved)
