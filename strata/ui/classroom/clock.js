// What is left of the teacher's time. The server says how much it is each time it draws the page;
// in between the browser counts.
const clocks = (window.strataClocks ??= new WeakMap());

export default function ({ parentElement, data }) {
  let shown = parentElement.querySelector(".clock");
  if (!shown) {
    shown = document.createElement("div");
    shown.className = "clock";
    shown.setAttribute("role", "timer");
    parentElement.appendChild(shown);
  }
  clearInterval(clocks.get(shown));
  const given = data?.left;
  shown.hidden = given === null || given === undefined;
  const ends = performance.now() + 1000 * (given ?? 0);
  const tell = () => {
    const left = Math.ceil(Math.max(0, ends - performance.now()) / 1000);
    shown.textContent = left ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}` : "Time is up";
    shown.classList.toggle("soon", left <= 10);
  };
  tell();
  if (!shown.hidden) clocks.set(shown, setInterval(() => (shown.isConnected ? tell() : clearInterval(clocks.get(shown))), 250));
}
