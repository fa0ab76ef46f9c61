// On a phone the sidebar lies over the page: it closes once a page or a prompt is asked for.
export default function () {
  const asked = "[data-testid=stSidebar] a, [data-testid=stSidebar] [data-testid=stBaseButton-primary]";
  const close = (event) => {
    if (!event.target.closest(asked) || !matchMedia("(max-width: 768px)").matches) return;
    const button = document.querySelector("[data-testid=stSidebarCollapseButton] button");
    setTimeout(() => button?.click()); // once what was clicked has had its click
  };
  document.addEventListener("click", close);
  return () => document.removeEventListener("click", close);
}
