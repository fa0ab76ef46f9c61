// From an answer to the figure that shows it, which on a narrow screen is a page further down.
export default function ({ data, parentElement }) {
  let button = parentElement.querySelector("button");
  if (!button) {
    button = document.createElement("button");
    button.type = "button";
    parentElement.appendChild(button);
  }
  // A guess that the figure has no place for stays in words.
  button.textContent = data.drawn ? "See your guess in the figure" : "See the figure";
  button.onclick = () => {
    const main = document.querySelector("[data-testid=stMain]");
    const name = data.figure && CSS.escape(data.figure);
    // Of what no figure draws, the page's first one.
    const shown = name
      ? `.st-key-${name}, [class*="st-key-room"][class*="_${name}"]`
      : '[class*="st-key-room"]:not([class*="_map"]), .st-key-title';
    const figure = main.querySelector(shown) ?? main.querySelector(".st-key-title");
    if (!figure) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    figure.style.scrollMarginTop = "4.5rem"; // Streamlit's bar lies over the page
    figure.scrollIntoView({
      block: figure.offsetHeight < main.clientHeight / 2 ? "center" : "start",
      behavior: calm ? "auto" : "smooth",
    });
    // It may have been in view all the time: that something was pressed must be seen.
    const [line, none] = ["rgba(117, 87, 224, .9)", "rgba(117, 87, 224, 0)"];
    const outline = (colour) => ({ outline: `3px solid ${colour}`, outlineOffset: "4px", borderRadius: "4px" });
    figure.animate([outline(line), outline(line), outline(none)], { duration: 1600, id: "strata-here" });
  };
}
