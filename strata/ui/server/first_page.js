// See first_page.py. Nothing is sent from here: Streamlit's own field and button take over.
(() => {
  const early = document.getElementById("strata-first");
  if (location.search) return early.remove(); // the address asks for more, which is another page
  const [form, word] = [early.querySelector("form"), early.querySelector("input")];
  let theme = '"System"';
  for (const key of Object.keys(localStorage)) if (key.startsWith("stActiveTheme-/-")) theme = localStorage[key];
  const dark = theme === '"System"' ? matchMedia("(prefers-color-scheme: dark)").matches : theme === '"Dark"';
  early.toggleAttribute("data-dark", dark);
  early.hidden = false;
  let [pressed, composing] = [false, false];
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    pressed = true;
    early.toggleAttribute("data-pressed", true);
    early.querySelector("[role=status]").textContent = "One moment …";
  });

  const leave = () => {
    drawn.disconnect();
    early.remove();
  };
  const handOver = (field, button) => {
    const [said, focused] = [word.value, document.activeElement];
    const [start, end] = [word.selectionStart, word.selectionEnd];
    leave();
    if (said) {
      // As if it were typed there: React hears of a value by its own way only, and by and by.
      field.focus({ preventScroll: true });
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, said);
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
    if (pressed) {
      setTimeout(() => field.blur());
      setTimeout(() => button.click(), 30);
    } else if (focused === word) {
      field.focus({ preventScroll: true });
      field.setSelectionRange(start, end);
    } else setTimeout(() => field.blur());
  };
  const look = () => {
    if (composing || !early.isConnected) return;
    const field = document.querySelector(".st-key-first_word input");
    const button = document.querySelector(".st-key-reveal button");
    // A page keeps still and hidden until its sidebar has come (loading.css), and what is hidden
    // takes no focus; when it shows itself no element changes.
    if (field?.checkVisibility({ visibilityProperty: true }) && button) handOver(field, button);
    else if (field) setTimeout(look, 40);
    // What is said instead, as that the server is away, must be seen.
    else if (document.querySelector('#root :is([role=alert], [class*="st-key-say_refusal"]), [role=dialog]')) leave();
  };
  const drawn = new MutationObserver(look);
  for (const [name, now] of [["compositionstart", true], ["compositionend", false]])
    word.addEventListener(name, () => ((composing = now), look()));
  drawn.observe(document.documentElement, { childList: true, subtree: true });
})();
