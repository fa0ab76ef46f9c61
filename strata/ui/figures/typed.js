// What is being typed into the prompt is told a moment after the last key: the latest text only, and
// none before the page has been drawn for the one told last.
const pause = 300, again = 1000, lost = 10000; // milliseconds
const boxes = '[class*="st-key-text_"] textarea, [class*="st-key-here_"] textarea';

export default function ({ data, parentElement, setTriggerValue }) {
  const mine = (parentElement.typed ??= { box: null, told: null, timer: 0, until: 0 });
  const due = () => {
    const wait = mine.until - Date.now();
    if (wait > 0) return soon(wait);
    if (!mine.box?.isConnected || mine.box.value === mine.told) return;
    mine.told = mine.box.value;
    mine.until = Date.now() + lost;
    setTriggerValue("typed", mine.told);
  };
  const soon = (wait) => {
    clearTimeout(mine.timer);
    mine.timer = setTimeout(due, wait);
  };
  const typed = (event) => {
    if (!event.target.matches?.(boxes)) return;
    mine.box = event.target;
    soon(pause);
  };
  mine.until = 0;
  if (data.busy) mine.told = null;
  soon(data.busy ? again : pause);
  document.addEventListener("input", typed);
  return () => {
    document.removeEventListener("input", typed);
    clearTimeout(mine.timer);
  };
}
