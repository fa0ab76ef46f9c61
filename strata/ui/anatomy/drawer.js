// A new step of a lesson begins at its top.
let step = null;
const toTheTop = () => {
  for (const part of ["[data-testid=stMain]", ".st-key-lesson_panel"])
    document.querySelector(part)?.scrollTo({ top: 0 });
};

// On a phone the sidebar lies over the page: it closes once a page or a prompt is asked for.
export default function ({ data }) {
  if (step !== null && data?.step !== step) requestAnimationFrame(toTheTop);
  step = data?.step ?? "";
  const asked = "[data-testid=stSidebar] a, [data-testid=stSidebar] [data-testid=stBaseButton-primary]";
  const close = (event) => {
    if (!event.target.closest(asked) || !matchMedia("(max-width: 768px)").matches) return;
    const button = document.querySelector("[data-testid=stSidebarCollapseButton] button");
    setTimeout(() => button?.click()); // once what was clicked has had its click
  };
  document.addEventListener("click", close);
  return () => document.removeEventListener("click", close);
}
