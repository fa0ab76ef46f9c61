// Where a lesson's step stands: a matter of the learner's window, so the server is not asked, and
// the browser keeps it. What the names do is in layout.css. And what a press has brought below the
// panel's edge, a second try or a hint, is scrolled to: nobody looks for what they cannot see.
const ways = {
  beside: ["Beside the page", "M2 3h12v10H2z M6.5 3v10"],
  wide: ["Wider, beside the page", "M2 3h12v10H2z M9 3v10"],
  above: ["Above the page", "M2 3h12v10H2z M2 7.5h12"],
  below: ["Below the page", "M2 3h12v10H2z M2 8.5h12"],
  alone: ["The step alone", "M2 6V3h3 M11 3h3v3 M14 10v3h-3 M5 13H2v-3"],
};
const kept = "strata-panel";

const asks = '[class*="st-key-commit_"], .st-key-hint, .st-key-look';
const patience = 20000; // milliseconds in which a press is answered

function followed(panel) {
  const verdicts = () => [...panel.querySelectorAll('[class*="st-key-verdict_"]')];
  const said = () => verdicts().length + panel.querySelectorAll(".st-key-lesson_asks [data-testid=stMarkdown]").length;
  let [before, until] = [0, 0];
  const reveal = () => {
    for (const what of [panel.querySelector(".st-key-look, .st-key-to_figure"), verdicts().pop()])
      what?.scrollIntoView({ block: "nearest" });
  };
  const pressed = ({ target }) => {
    if (target.closest?.("button") && !target.closest(asks)) until = 0; // to another step
    else if (target.closest?.(asks)) [before, until] = [said(), Date.now() + patience];
  };
  const entered = ({ key, target }) => {
    const typed = key === "Enter" && target.matches?.("input") && target.closest("[data-testid=stForm]");
    if (typed) [before, until] = [said(), Date.now() + patience];
  };
  const grown = new MutationObserver(() => {
    if (Date.now() > until || said() === before) return;
    before = said();
    for (const wait of [0, 250, 800]) setTimeout(reveal, wait); // it comes in parts
  });
  panel.addEventListener("click", pressed);
  panel.addEventListener("keydown", entered);
  grown.observe(panel, { childList: true, subtree: true });
  return () => {
    panel.removeEventListener("click", pressed);
    panel.removeEventListener("keydown", entered);
    grown.disconnect();
  };
}

export default function ({ parentElement }) {
  const chosen = () => document.documentElement.dataset.strataPanel;
  let group = parentElement.querySelector("[role=group]");
  if (!group) {
    group = document.createElement("div");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Where this step stands");
    parentElement.appendChild(group);
  }
  // A page too narrow for both has the step above it, whatever was chosen: what is pressed is so.
  const rows = document.querySelector(".st-key-lesson_and_page [data-testid=stHorizontalBlock]");
  const stands = () => {
    const way = chosen();
    if (!rows || rows.children.length < 2 || !["beside", "wide"].includes(way)) return way;
    const [step, page] = [...rows.children].map((each) => each.getBoundingClientRect());
    return page.top >= step.bottom - 1 ? "above" : way;
  };
  const mark = () => {
    const way = stands();
    for (const button of group.children)
      button.setAttribute("aria-pressed", String(button.value === way));
  };
  const show = (way) => {
    document.documentElement.dataset.strataPanel = way;
    mark();
  };
  const buttons = Object.entries(ways).map(([way, [title, path]]) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", value: way, title });
    button.setAttribute("aria-label", title);
    const [svg, line] = ["svg", "path"].map((name) =>
      document.createElementNS("http://www.w3.org/2000/svg", name),
    );
    svg.setAttribute("viewBox", "0 0 16 16");
    svg.setAttribute("aria-hidden", "true");
    line.setAttribute("d", path);
    svg.appendChild(line);
    button.appendChild(svg);
    button.onclick = () => {
      localStorage.setItem(kept, way);
      show(way);
    };
    return button;
  });
  group.replaceChildren(...buttons);
  const before = chosen() ?? localStorage.getItem(kept);
  show(before in ways ? before : "beside");
  const watch = new ResizeObserver(mark);
  for (const each of rows?.children ?? []) watch.observe(each);
  const panel = document.querySelector(".st-key-lesson_panel");
  const leave = panel && followed(panel);
  return () => {
    watch.disconnect();
    leave?.();
  };
}
