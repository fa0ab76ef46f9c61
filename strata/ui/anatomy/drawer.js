// A page and a step of a lesson begin at their top.
let step = null;
const toTheTop = () => {
  for (const part of ["[data-testid=stMain]", "[data-testid=stLayoutWrapper]:has(> .st-key-lesson_step)"])
    document.querySelector(part)?.scrollTo({ top: 0 });
};

// Who comes to a step by the keyboard is at its beginning, not behind its question. Its heading comes
// by and by, and may be drawn anew.
const toTheStep = () => {
  const [heading, at] = [document.querySelector(".st-key-lesson_panel h3"), document.activeElement];
  if (!heading || !(at === document.body || at?.closest(".st-key-step_on, .st-key-step_back"))) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
};

// Vega paints the bar of a legend by a gradient of its own figure that it names by the whole address.
// Once the address is another, nothing is painted there when the figure is next shown anew (issue
// 3948 of vega/vega).
const keepBars = () => {
  for (const bar of document.querySelectorAll('svg [fill^="url(http"]'))
    bar.setAttribute("fill", bar.getAttribute("fill").replace(/^url\([^#]*/, "url("));
};

// What the way back leads through: a step of a lesson, a page, a tab. Streamlit makes an entry of
// the history for each change of an address, and none for a tab; so the way back of a lesson would
// be ten presses long. Here a press or key of the learner makes at most one.
const stops = ["lesson", "step_of_lesson"];
const [push, replace] = [history.pushState.bind(history), history.replaceState.bind(history)];
let acted = "";
const note = (state, title, url) => {
  const [here, there] = [new URL(location.href), new URL(url ?? location.href, location.href)];
  // The first page has no state of its own: with one, its address would mean another page.
  if (here.pathname === there.pathname && here.pathname.endsWith("/") && !here.search) return;
  const names = acted === "tab" ? [...stops, "view"] : stops;
  const elsewhere =
    here.pathname !== there.pathname ||
    names.some((name) => here.searchParams.get(name) !== there.searchParams.get(name));
  (acted && elsewhere ? push : replace)(state, title, url);
  keepBars();
  if (elsewhere) acted = "";
  if (here.pathname !== there.pathname) toTheTop();
};
if (!history.byStops) {
  const act = ({ target }) => (acted = target?.closest?.("[role=tab]") ? "tab" : "other");
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, act, true);
  addEventListener("popstate", () => (keepBars(), (acted = "")), true);
  Object.assign(history, { byStops: true, pushState: note, replaceState: note });
}

// Who presses twice means what was there at first: what the first press has brought under a pointer
// that rests is not pressed by the second, and a step of a lesson is not passed over.
const again = { pixels: 5, milliseconds: 1500 };
// By its key, since one that is drawn anew is still the same.
const own = (button) => button.closest('[data-testid="stElementContainer"][class*="st-key-"]')?.className.match(/st-key-\S+/)[0] ?? button;
let latest = null;
const once = (event) => {
  const button = event.target.closest?.("button, a");
  if (!button || !event.detail) return; // by a key
  const [{ clientX: x, clientY: y }, at, what] = [event, Date.now(), own(button)];
  const rests = latest && Math.hypot(x - latest.x, y - latest.y) < again.pixels && at - latest.at < again.milliseconds;
  if (rests && (what !== latest.what || (event.detail > 1 && button.closest(".st-key-step_on, .st-key-step_back")))) {
    event.preventDefault();
    event.stopImmediatePropagation();
  } else latest = { x, y, at, what };
};
if (!window.strataOnce) addEventListener("click", (window.strataOnce = once), true);

// Paper is white: print.css is told when what is on the screen was drawn for a dark ground.
matchMedia("print").addEventListener("change", ({ matches }) => {
  const app = document.querySelector("[data-testid=stApp]");
  const dark = matches && app && getComputedStyle(app).colorScheme === "dark";
  document.documentElement.toggleAttribute("data-strata-dark", Boolean(dark));
});

// A sidebar that is put away is not on the way of the keyboard.
const away = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) target.inert = !isIntersecting;
});

// On a phone the sidebar lies over the page: it closes once a page or a prompt is asked for.
// What a page is about, beside its name in the navigation, which Streamlit draws when it will.
const plain = document.createElement("style");

export default function ({ data }) {
  plain.textContent = Object.entries(data?.plain ?? {})
    .map(([page, words]) => `[data-testid=stSidebarNavLink][href$="/${page}"]::after {content: ${JSON.stringify(words)}}`)
    .join("\n");
  if (!plain.isConnected) document.head.appendChild(plain);
  if (step !== null && data?.step !== step) {
    requestAnimationFrame(toTheTop);
    if (step && data?.step) for (const wait of [250, 800]) setTimeout(toTheStep, wait);
  }
  step = data?.step ?? "";
  const asked = "[data-testid=stSidebar] a, [data-testid=stSidebar] [data-testid^=stBaseButton-primary]";
  const close = (event) => {
    if (!event.target.closest(asked) || !matchMedia("(max-width: 768px)").matches) return;
    const button = document.querySelector("[data-testid=stSidebarCollapseButton] button");
    setTimeout(() => button?.click()); // once what was clicked has had its click
  };
  document.addEventListener("click", close);
  const sidebar = document.querySelector(".stSidebar");
  if (sidebar) away.observe(sidebar);
  return () => document.removeEventListener("click", close);
}
