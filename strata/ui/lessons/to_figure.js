// From an answer to the figure that shows it, which on a narrow screen is a page further down.
export default function ({ data, parentElement }) {
  let button = parentElement.querySelector("button");
  if (!button) {
    button = document.createElement("button");
    button.type = "button";
    button.textContent = "See it in the figure";
    parentElement.appendChild(button);
  }
  button.onclick = () => {
    const name = CSS.escape(data.figure);
    const [main, page] = [document.querySelector("[data-testid=stMain]"), ".st-key-title"];
    const shown = `.st-key-${name}, [class*="st-key-room"][class*="_${name}"]`;
    const figure = main.querySelector(shown) ?? main.querySelector(page);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    figure?.scrollIntoView({
      block: figure.offsetHeight < main.clientHeight / 2 ? "center" : "start",
      behavior: calm ? "auto" : "smooth",
    });
  };
}
